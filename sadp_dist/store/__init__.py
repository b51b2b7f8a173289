"""The scores of a run: one engine and one interface, on the backend that the scheme of a URL names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.passwords import without_password
from sadp_dist.selection.config import PruningConfig
from sadp_dist.store.backends.saved import open_snapshot
from sadp_dist.store.connection import Queryable, Restarted, StoreOptions, until_reached
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.store.engine.run import Run, check_name
from sadp_dist.store.engine.stats import StoreStats
from sadp_dist.store.view import RunView, Store

__all__ = [
    "BACKENDS",
    "ClassFigures",
    "EpochRecord",
    "RunView",
    "Store",
    "StoreOptions",
    "StoreStats",
    "StoreUnavailable",
    "attach",
    "connect",
    "list_runs",
    "open_snapshot",
    "remove_run",
]

BACKENDS = {
    "memory": "sadp_dist.store.backends.embedded",
    "ray": "sadp_dist.store.backends.ray",
    "redis": "sadp_dist.store.backends.redis",
    "rediss": "sadp_dist.store.backends.redis",
}
"""Scheme of a URL -> module of the backend, which is imported when a URL needs it. Add your own here.

The module has `connect(url, run, options)`: it begins a `Run` if the store has none of this name, and returns
a rank's `Connection` to it. If runs outlive the processes that train, the module also has
`attach(url, run, options)`, which returns a connection for queries to the run of a name, `list_runs(url)` and
`remove_run(url, run)`."""


def connect(
    url: str,
    run: str,
    dataset_size: int,
    pruning: PruningConfig,
    labels: ArrayLike | None = None,
    data: Mapping[str, str] | None = None,
    **options: Any,
) -> Store:
    """Return the store of a run. In a torch.distributed job, every rank calls it.

    Call it after `init_process_group`. A store in another process may already hold a run of this name.
    Continue with it, go back with `load`, or begin again with `reset`.

    Args:
        url: where the store is; "memory:" is this process, or rank 0 of this job.
        run: name of the run.
        dataset_size: N, at least 1.
        pruning: how epochs are planned.
        labels: (N,) integers >= 0, the class of each example; needed for stratified draws.
        data: fingerprints of the data set by kind, see `sadp_dist.data.fingerprints`. Commands that show
            images of a run refuse those of other data. The same on every rank.
        options: the fields of `StoreOptions`, for a store in another process.

    Raises:
        UsageError: an argument is wrong, no epoch would keep an example, or the store holds a different run
            of this name. Every rank raises it if one does. But a wrong `url` or option is refused only on its
            rank, and the others wait for that rank until they time out.
        StoreUnavailable: the store cannot be reached.
    """
    backend, chosen = _backend(url), StoreOptions(**options)

    def make_run() -> Run:
        made = Run(
            run, dataset_size, pruning, None if labels is None else np.asarray(labels), dict(data or {})
        )
        made.refuse_empty()
        return made

    if str(url).startswith("memory:"):
        if url not in ("memory:", "memory://"):
            shown = without_password(url)
            raise UsageError(f'url={shown!r}: the embedded store has no address; use "memory:"')
        store: Store = backend.EmbeddedStore(make_run)
        return store
    from sadp_dist.store.client.remote import join  # takes seconds: it imports torch

    return join(lambda ours: backend.connect(url, ours, chosen), make_run, chosen)


def attach(url: str, run: str, **options: Any) -> RunView:
    """Return a view of a run that other processes train, without disturbing them.

    Args:
        url: where the store is; not "memory:".
        run: name of the run.
        options: the fields of `StoreOptions`.

    Raises:
        UsageError: there is no such run.
        StoreUnavailable: the store cannot be reached.
    """
    check_name(run)
    chosen = StoreOptions(**options)
    connection: Queryable = _shared_backend(url).attach(url, run, chosen)
    advice = "check that the store is running and that this machine can reach it"

    def query(name: str, arguments: Mapping[str, Any]) -> Any:
        while True:
            try:
                return until_reached(lambda: connection.query(name, arguments), chosen.timeout, advice)
            except Restarted:
                continue  # this process has sent nothing that could be missing

    return RunView(query, connection.close)


def list_runs(url: str) -> list[dict[str, Any]]:
    """Return the runs of a store as plain JSON: "run", "dataset_size", "method", "epoch", "state" and more.

    "epoch" is that of the latest plan, counted from 0, of "epochs". "state" is "done", "running" or
    "stopped", and "since" is when a rank was last active, in seconds since 1970.

    Raises:
        UsageError: "memory:" keeps no runs.
        StoreUnavailable: the store cannot be reached.
    """
    found: list[dict[str, Any]] = _shared_backend(url).list_runs(url)
    return found


def remove_run(url: str, run: str) -> None:
    """Remove everything that a store holds of a run.

    Raises:
        UsageError: there is no such run.
        StoreUnavailable: the store cannot be reached.
    """
    check_name(run)
    _shared_backend(url).remove_run(url, run)


def _shared_backend(url: str) -> ModuleType:
    backend = _backend(url)
    if not hasattr(backend, "attach"):
        raise UsageError(
            f"url={without_password(url)!r} lives in the processes that train; give the run's directory"
        )
    return backend


def _backend(url: str) -> ModuleType:
    scheme, colon, _ = str(url).partition(":")
    if not colon or scheme not in BACKENDS:
        known = ", ".join(f'"{scheme}:"' for scheme in BACKENDS)
        raise UsageError(f"url={without_password(str(url))!r} is not a store: it has to start with {known}")
    return importlib.import_module(BACKENDS[scheme])
