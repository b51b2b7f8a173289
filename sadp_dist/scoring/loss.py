"""The loss as the score of an example, as in InfoBatch."""

from __future__ import annotations

import torch
from torch import Tensor

from sadp_dist.scoring.config import register_score
from sadp_dist.scoring.scores import Outputs


@torch.no_grad()
def loss_scores(losses: Tensor, coefficients: Tensor) -> Tensor:
    """Return the losses of a batch as scores, in the form of `SpikeAwareScorer.scores`.

    Args:
        losses: (B,) ℓ_i >= 0, not yet weighted.
        coefficients: (B,) the c_i of the loss Σ c_i ℓ_i.

    Returns:
        (B,) float32 on the losses' device, NaN where the coefficient is 0.
    """
    return torch.where(coefficients != 0, losses, torch.nan).float()


@register_score("loss")
def loss(outputs: Outputs) -> Tensor:
    """Return ℓ_i."""
    return outputs.losses
