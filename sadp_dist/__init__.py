"""Distributed spike-aware data pruning (SADP) for training spiking neural networks.

Each subpackage is imported at its first use, so a program loads only the parts that it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sadp_dist import data, loading, scoring, selection, snn, store, training
    from sadp_dist.loading import weighted_mean
    from sadp_dist.pruner import Pruner
    from sadp_dist.selection import PruningConfig
    from sadp_dist.store import connect, open_snapshot

__version__ = "0.3.0.dev0"
__all__ = [
    "Pruner",
    "PruningConfig",
    "connect",
    "data",
    "loading",
    "open_snapshot",
    "scoring",
    "selection",
    "snn",
    "store",
    "training",
    "weighted_mean",
]

_DEFINED_IN = {
    "Pruner": "pruner",
    "PruningConfig": "selection",
    "connect": "store",
    "open_snapshot": "store",
    "weighted_mean": "loading",
}


def __getattr__(name: str) -> Any:
    if name in _DEFINED_IN:
        return getattr(import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
