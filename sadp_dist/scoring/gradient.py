"""The spike-aware gradient score (Eq. 29), or the exact norm of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sadp_dist.scoring.config import ScoringConfig, register_score

if TYPE_CHECKING:
    from torch import nn

    from sadp_dist.scoring.scorer import SpikeAwareScorer


class GradientConfig(ScoringConfig):
    """The options of "gradient".

    Attributes:
        layers: the layers that are scored: the "last" one, "all" of them, or a list of their names.
        exact: whether the score is the exact norm of the gradient instead of its bound; linear layers only.
        bias: whether layers with a bias have it in their scores. Eq. 29 as published leaves it out.
    """

    layers: Literal["last", "all"] | list[str] = "last"
    exact: bool = False
    bias: bool = True


@register_score("gradient", GradientConfig)
def gradient_scorer(config: GradientConfig, network: nn.Module, time_steps: int) -> SpikeAwareScorer:
    """Return the scorer of a network whose layers see `time_steps` time steps in one call."""
    from sadp_dist.scoring.scorer import SpikeAwareScorer

    return SpikeAwareScorer(network, config.layers, config.exact, time_steps, bias=config.bias)
