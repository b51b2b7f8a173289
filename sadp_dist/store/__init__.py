"""The scores of a run: one engine, one interface, several homes, chosen by the scheme of a URL."""

from __future__ import annotations

import importlib
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sadp_dist.errors import UsageError
from sadp_dist.selection.choices import check_choice
from sadp_dist.selection.config import PruningConfig
from sadp_dist.store.address import without_password
from sadp_dist.store.base import Store, StoreUnavailable
from sadp_dist.store.options import StoreOptions
from sadp_dist.store.saved import open_snapshot
from sadp_dist.store.stats import StoreStats

__all__ = ["HOMES", "Store", "StoreOptions", "StoreStats", "StoreUnavailable", "connect", "open_snapshot"]

HOMES = {
    "memory": "sadp_dist.store.embedded",
    "ray": "sadp_dist.store.ray",
    "redis": "sadp_dist.store.redis",
    "rediss": "sadp_dist.store.redis",
}
"""Scheme -> module, imported when a URL asks.

It has `connect(url, run, dataset_size, pruning, labels, options)`; where runs outlive the processes that
train, also `attach(url, run)`, `list_runs(url)` and `remove_run(url, run)`."""


def connect(
    url: str,
    run: str,
    dataset_size: int,
    pruning: PruningConfig,
    labels: ArrayLike | None = None,
    **options: Any,
) -> Store:
    """The store of a run. In a torch.distributed job every rank calls this, after `init_process_group`.

    Args:
        url: where it lives; "memory:" is this process, or rank 0 of this job.
        run: name of the run.
        dataset_size: N, at least 1.
        pruning: how epochs are planned.
        labels: (N,) integers >= 0, the class of each example; needed for stratified draws.
        options: of a store in another process, the fields of `StoreOptions`.

    Raises:
        UsageError: an argument is wrong, on any rank; or the run is there already and was another one.
        StoreUnavailable: the place cannot be reached.
    """
    for name in options:
        check_choice("option", name, [field.name for field in fields(StoreOptions)])
    home = _home(url)
    classes = None if labels is None else np.asarray(labels)
    store: Store = home.connect(url, run, dataset_size, pruning, classes, StoreOptions(**options))
    return store


def _home(url: str) -> ModuleType:
    scheme, colon, _ = str(url).partition(":")
    if not colon or scheme not in HOMES:
        known = ", ".join(f'"{home}:"' for home in HOMES)
        raise UsageError(f"url={without_password(str(url))!r} is not a store: it has to start with {known}")
    return importlib.import_module(HOMES[scheme])
