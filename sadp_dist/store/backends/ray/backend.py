"""Runs in a Ray cluster: joining one, looking at one, listing and removing them."""

from __future__ import annotations

import secrets
import warnings
from contextlib import suppress
from typing import Any

import ray
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.store.backends.ray import cluster
from sadp_dist.store.backends.ray.actor import RunActor
from sadp_dist.store.backends.ray.connection import RayConnection
from sadp_dist.store.backends.ray.creation import Creation
from sadp_dist.store.backends.ray.files import folder_of
from sadp_dist.store.client.remote import AttachedStore, join
from sadp_dist.store.client.retry import until_reached
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.run import Run
from sadp_dist.store.options import StoreOptions
from sadp_dist.store.view import Store, StoreUnavailable

MAX_WAITING = 10_000
"""Calls that may be under way at once in an actor: every rank has one while it waits."""
SHARD = 2**24
"""Examples of a shard, about: 192 MiB of scores, and a plan in about a second."""
SUMMARY = ("run", "dataset_size", "method", "epoch", "seen")


def connect(
    url: str,
    run: str,
    dataset_size: int,
    pruning: PruningConfig,
    labels: NDArray[Any] | None,
    options: StoreOptions,
) -> Store:
    """A run's store; the first one to come makes the actor."""

    return join(
        lambda ours: open_connection(url, ours, options),
        lambda: Run(run, dataset_size, pruning, labels),
        options,
    )


def open_connection(url: str, run: Run, options: StoreOptions) -> RayConnection:
    """A line to a run, whose actor is made if nobody has.

    Raises:
        UsageError: an argument is wrong, or the cluster has another run of this name.
        StoreUnavailable: there is no cluster, or it does not answer.
    """
    cluster.join(url)
    shards = options.shards or shards_for(run.dataset_size)
    folder = folder_of(run.name, options.snapshot)
    creation = Creation(run.name, run.dataset_size, run.pruning, shards, folder, secrets.randbits(63))

    def connection() -> RayConnection:
        actor = cluster.make(RunActor, run.name, cluster.RUNS, creation, max_concurrency=MAX_WAITING)
        return RayConnection(actor, run.name, run)

    opened = until_reached(connection, options.timeout)
    there = opened.creation
    for name, wanted, ours, theirs in (
        ("shards", options.shards, shards, there.shards),
        ("snapshot", options.snapshot, folder, there.folder),
    ):
        if wanted is not None and ours != theirs:
            warnings.warn(
                f"store.{name}={wanted!r} changes nothing: run {run.name!r} is in the Ray cluster already, "
                f"with {theirs!r}; to change that, sadp-dist rm it and begin anew or go on with --resume",
                stacklevel=2,
            )
    return opened


def shards_for(dataset_size: int) -> int:
    """One up to `SHARD` examples, and no more than there are nodes: on one node they would only share it."""
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    return max(min(-(-dataset_size // SHARD), nodes), 1)


def attach(url: str, run: str, options: StoreOptions) -> Store:
    """Questions to a run that others train.

    Raises:
        UsageError: there is none of this name.
        StoreUnavailable: there is no cluster, or it does not answer.
    """
    cluster.join(url)
    actor = cluster.find(run, url)
    return AttachedStore(until_reached(lambda: RayConnection(actor, run), options.timeout), options)


def list_runs(url: str) -> list[dict[str, Any]]:
    """What runs there are, as plain JSON; one that does not answer has a name alone."""
    cluster.join(url)
    runs = []
    for name in cluster.names():
        summary: dict[str, Any] = {}
        with suppress(Unreachable, StoreUnavailable, UsageError):
            figures = RayConnection(cluster.find(name, url), name).stats().to_dict()
            summary = {key: figures[key] for key in SUMMARY}
        runs.append({**dict.fromkeys(SUMMARY), **summary, "run": name})
    return runs


def remove_run(url: str, run: str) -> None:
    """End a run: its actor and its snapshots.

    Raises:
        UsageError: there is none of this name.
    """
    cluster.join(url)
    actor = cluster.find(run, url)
    with suppress(Unreachable, StoreUnavailable):  # one that is down for good has to go, too
        cluster.ask(actor, "forget")
    tables = [name for name in cluster.names(cluster.TABLES) if name.rpartition("/")[0] == run]
    for each in (actor, *(ray.get_actor(name, cluster.TABLES) for name in tables)):
        ray.kill(each, no_restart=True)
