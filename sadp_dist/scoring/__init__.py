"""A score for each example, from a forward and backward pass (Eq. 29) or from the network's outputs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.scoring.config import SCORES, ScoringConfig, register_score

if TYPE_CHECKING:
    from sadp_dist.scoring.loss import loss_scores
    from sadp_dist.scoring.mixed import unmixed_scores
    from sadp_dist.scoring.scorer import SpikeAwareScorer
    from sadp_dist.scoring.scores import Outputs, output_scores

_NEED_TORCH = {
    "Outputs": "scores",
    "SpikeAwareScorer": "scorer",
    "loss_scores": "loss",
    "output_scores": "scores",
    "unmixed_scores": "mixed",
}

__all__ = [
    "SCORES",
    "Outputs",
    "ScoringConfig",
    "SpikeAwareScorer",
    "loss_scores",
    "output_scores",
    "register_score",
    "unmixed_scores",
]


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:  # a configuration does not wait for torch
        return getattr(import_module(f"sadp_dist.scoring.{_NEED_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
