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
from sadp_dist.store.backends.ray.actor import Creation, RunActor
from sadp_dist.store.backends.ray.connection import RayConnection
from sadp_dist.store.backends.ray.files import folder_of
from sadp_dist.store.client.remote import join, view
from sadp_dist.store.client.retry import until_reached
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.run import Run
from sadp_dist.store.options import StoreOptions
from sadp_dist.store.view import RunView, Store, StoreUnavailable

MAX_WAITING = 10_000
"""Calls that may be under way at once in an actor: every rank has one while it waits."""
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
    folder = folder_of(run.name, options.snapshot)
    creation = Creation(run.name, run.dataset_size, run.pruning, folder, secrets.randbits(63))

    def connection() -> RayConnection:
        actor = cluster.make(RunActor, run.name, creation, max_concurrency=MAX_WAITING)
        return RayConnection(actor, run.name, run)

    opened = until_reached(connection, options.timeout)
    theirs = opened.creation.folder
    if options.snapshot is not None and folder != theirs:
        warnings.warn(
            f"store.snapshot={options.snapshot!r} changes nothing: run {run.name!r} is in the Ray cluster "
            f"already, with {theirs!r}; to change that, remove it with sadp-dist rm, then start again or "
            "continue with --resume",
            stacklevel=2,
        )
    return opened


def attach(url: str, run: str, options: StoreOptions) -> RunView:
    """Return a view of a run that other processes train.

    Raises:
        UsageError: there is none of this name.
        StoreUnavailable: there is no cluster, or it does not answer.
    """
    cluster.join(url)
    actor = cluster.find(run, url)
    return view(until_reached(lambda: RayConnection(actor, run), options.timeout), options)


def list_runs(url: str) -> list[dict[str, Any]]:
    """What runs there are, as plain JSON; one that does not answer has a name alone."""
    cluster.join(url)
    runs = []
    for name in cluster.names():
        summary: dict[str, Any] = {}
        with suppress(Unreachable, StoreUnavailable, UsageError):
            figures = RayConnection(cluster.find(name, url), name).query("stats", {}).to_dict()
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
    ray.kill(actor, no_restart=True)
