"""Training runs: configuration, the loop, checkpoints and metrics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.training.config import TrainConfig, parse_config
from sadp_dist.training.config_file import load_config

if TYPE_CHECKING:
    from sadp_dist.training.metrics import read_metrics
    from sadp_dist.training.run import train

_LATER = {"read_metrics": "sadp_dist.training.metrics", "train": "sadp_dist.training.run"}

__all__ = ["TrainConfig", "load_config", "parse_config", "read_metrics", "train"]


def __getattr__(name: str) -> Any:
    # A configuration, and a mistake in one, should not wait for torch.
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
