"""The scores of a run: one engine and one interface, on the backend that the scheme of a URL names."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sadp_dist.errors import UsageError
from sadp_dist.passwords import without_password
from sadp_dist.selection.config import PruningConfig
from sadp_dist.store.backends.saved import open_snapshot
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.store.engine.run import check_name
from sadp_dist.store.engine.stats import StoreStats
from sadp_dist.store.options import StoreOptions
from sadp_dist.store.view import RunView, Store, StoreUnavailable

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
    "ray": "sadp_dist.store.backends.ray.backend",
    "redis": "sadp_dist.store.backends.redis",
    "rediss": "sadp_dist.store.backends.redis",
}
"""Scheme of a URL -> module of the backend, which is imported when a URL needs it. Add your own here.

The module has `connect(url, run, dataset_size, pruning, labels, options)`. If runs outlive the processes that
train, it also has `attach(url, run, options)`, `list_runs(url)` and `remove_run(url, run)`."""


def connect(
    url: str,
    run: str,
    dataset_size: int,
    pruning: PruningConfig,
    labels: ArrayLike | None = None,
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
        options: the fields of `StoreOptions`, for a store in another process.

    Raises:
        UsageError: an argument is wrong, or the store holds a different run of this name. Every rank
            raises it if one does. But a wrong `url` or option is refused only on its rank, and the others
            wait for that rank until they time out.
        StoreUnavailable: the store cannot be reached.
    """
    backend = _backend(url)
    classes = None if labels is None else np.asarray(labels)
    store: Store = backend.connect(url, run, dataset_size, pruning, classes, _options(options))
    return store


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
    view: RunView = _shared_backend(url).attach(url, run, _options(options))
    return view


def list_runs(url: str) -> list[dict[str, Any]]:
    """Return the runs of a store as plain JSON: "run", "dataset_size", "method", "epoch", "seen" and more.

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


def _options(given: dict[str, Any]) -> StoreOptions:
    return StoreOptions(**given)


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
