"""The mean loss of a batch as the score of each of its examples."""

from __future__ import annotations

import torch
from torch import Tensor

from sadp_dist.scoring.config import register_score
from sadp_dist.scoring.scores import Outputs


@register_score("batch-loss")
def batch_loss(outputs: Outputs) -> Tensor:
    """Return the mean of ℓ_i over the batch, without padding, for every example (Zhou et al., CVPR 2026)."""
    present = outputs.coefficients != 0
    mean = torch.where(present, outputs.losses, 0.0).sum() / present.sum().clamp(min=1)
    return mean.expand_as(outputs.losses)
