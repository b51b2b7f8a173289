"""The scores of a run: one engine, one interface, several homes, chosen by the scheme of a URL."""

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
"""Scheme -> module, imported when a URL asks.

It has `connect(url, run, dataset_size, pruning, labels, options)`; where runs outlive the processes that
train, also `attach(url, run, options)`, `list_runs(url)` and `remove_run(url, run)`."""


def connect(
    url: str,
    run: str,
    dataset_size: int,
    pruning: PruningConfig,
    labels: ArrayLike | None = None,
    **options: Any,
) -> Store:
    """The store of a run. In a torch.distributed job every rank calls this, after `init_process_group`.

    A store in another process may hold a run of this name already: `reset` begins it anew, `load` goes back.

    Args:
        url: where it lives; "memory:" is this process, or rank 0 of this job.
        run: name of the run.
        dataset_size: N, at least 1.
        pruning: how epochs are planned.
        labels: (N,) integers >= 0, the class of each example; needed for stratified draws.
        options: of a store in another process, the fields of `StoreOptions`.

    Raises:
        UsageError: an argument is wrong, or the run is there already and was another one; on every rank, if
            that is so on one of them. A wrong `url` or option is refused on its rank alone, for which the
            others wait until they time out.
        StoreUnavailable: the place cannot be reached.
    """
    home = _home(url)
    classes = None if labels is None else np.asarray(labels)
    store: Store = home.connect(url, run, dataset_size, pruning, classes, _options(options))
    return store


def attach(url: str, run: str, **options: Any) -> RunView:
    """Return a view of a run that other processes train, without disturbing them.

    Args:
        url: where it lives; not "memory:".
        run: its name.
        options: the fields of `StoreOptions`.

    Raises:
        UsageError: there is no such run.
        StoreUnavailable: the place cannot be reached.
    """
    check_name(run)
    view: RunView = _shared_home(url).attach(url, run, _options(options))
    return view


def list_runs(url: str) -> list[dict[str, Any]]:
    """The runs that a place holds, as plain JSON: "run", "dataset_size", "method", "epoch", "seen" and more.

    Raises:
        UsageError: "memory:" has no place.
        StoreUnavailable: it cannot be reached.
    """
    found: list[dict[str, Any]] = _shared_home(url).list_runs(url)
    return found


def remove_run(url: str, run: str) -> None:
    """Remove all that a place holds of a run.

    Raises:
        UsageError: there is no such run.
        StoreUnavailable: the place cannot be reached.
    """
    check_name(run)
    _shared_home(url).remove_run(url, run)


def _options(given: dict[str, Any]) -> StoreOptions:
    return StoreOptions(**given)


def _shared_home(url: str) -> ModuleType:
    home = _home(url)
    if not hasattr(home, "attach"):
        raise UsageError(
            f"url={without_password(url)!r} lives in the processes that train; give the run's directory"
        )
    return home


def _home(url: str) -> ModuleType:
    scheme, colon, _ = str(url).partition(":")
    if not colon or scheme not in BACKENDS:
        known = ", ".join(f'"{home}:"' for home in BACKENDS)
        raise UsageError(f"url={without_password(str(url))!r} is not a store: it has to start with {known}")
    return importlib.import_module(BACKENDS[scheme])
