"""The Ray backend: connect to a run, attach to one, list and remove them."""

from __future__ import annotations

import secrets
import time
import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import ray

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.ray import cluster
from sadp_dist.store.backends.ray.actor import Creation, RunActor
from sadp_dist.store.backends.ray.connection import RayConnection
from sadp_dist.store.backends.ray.files import folder_of
from sadp_dist.store.connection import StoreOptions, Unreachable, until_reached
from sadp_dist.store.engine.run import Run
from sadp_dist.store.run_state import run_state

MAX_WAITING = 10_000
"""Largest number of simultaneous calls to an actor: each waiting rank has one."""
SUMMARY = ("run", "dataset_size", "method", "epoch", "epochs", "seen")
RUNNING = 600.0
"""Seconds after the last message of a rank during which a run counts as running."""


def connect(url: str, run: Run, options: StoreOptions) -> RayConnection:
    """Return a connection to a run, whose actor is created if there is none.

    Raises:
        UsageError: an argument is wrong, or the cluster has a different run of this name.
        StoreUnavailable: there is no cluster, or it does not answer.
    """
    cluster.join(url)
    folder = folder_of(run.name, options.snapshot)
    creation = Creation(run.name, run.dataset_size, run.pruning, folder, secrets.randbits(63), run.data)

    def connection() -> RayConnection:
        return RayConnection(_actor_of(creation), run.name, run)

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


def attach(url: str, run: str, options: StoreOptions) -> RayConnection:
    """Return a connection to a run that other processes train.

    Raises:
        UsageError: there is no run of this name.
        StoreUnavailable: there is no cluster, or it does not answer.
    """
    cluster.join(url)
    actor = cluster.find(run, url)
    return until_reached(lambda: RayConnection(actor, run), options.timeout)


def list_runs(url: str) -> list[dict[str, Any]]:
    """Return the runs of a cluster as plain JSON; a run that does not answer has only a name."""
    cluster.join(url)
    runs = []
    for name in cluster.names():
        summary: dict[str, Any] = {}
        with suppress(Unreachable, StoreUnavailable, UsageError):
            actor = cluster.find(name, url)
            connection = RayConnection(actor, name)
            figures = connection.query("stats", {}).to_dict()
            summary = {key: figures[key] for key in SUMMARY}
            heard = cluster.ask(actor, "last_message")
            active = heard is not None and time.time() - heard < RUNNING
            history = partial(connection.query, "history", {})
            over = run_state(summary["epoch"], summary["epochs"], False, history)
            summary["state"] = "running" if active and over != "done" else over
            summary["since"] = heard or figures["last_snapshot"]
        runs.append({**dict.fromkeys((*SUMMARY, "state", "since")), **summary, "run": name})
    return runs


def remove_run(url: str, run: str) -> None:
    """Remove a run: its actor and its snapshots.

    Raises:
        UsageError: there is no run of this name.
    """
    cluster.join(url)
    actor = cluster.find(run, url)
    with suppress(Unreachable, StoreUnavailable):  # also remove a run whose actor does not answer
        cluster.ask(actor, "forget")
    ray.kill(actor, no_restart=True)


def _actor_of(creation: Creation) -> Any:
    """Return the actor of a run, which is created if there is none.

    It reserves no processor, outlives the job that made it, and Ray restarts it when its process or its node
    is lost.
    """
    actor: Any = ray.remote(RunActor).options(
        name=creation.name,
        namespace=cluster.RUNS,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=MAX_WAITING,
    )
    return actor.remote(creation)
