"""Scores that are functions of the network's outputs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sadp_dist.scoring.config import SCORES, ScoringConfig


class Outputs(NamedTuple):
    """The outputs of a batch, from which scores are computed.

    Attributes:
        logits: (T, B, classes).
        labels: (B,) int64.
        losses: (B,) ℓ_i >= 0, not weighted.
        coefficients: (B,) the c_i of the loss Σ c_i ℓ_i; 0 for padding.
        window: (2,) Σ ℓ and number of examples of this batch and some before it; None: only this batch.
        config: the ``scoring:`` section, with the score's own options if it has some.
    """

    logits: Tensor
    labels: Tensor
    losses: Tensor
    coefficients: Tensor
    window: Tensor | None = None
    config: ScoringConfig | None = None


@torch.no_grad()
def output_scores(name: str, outputs: Outputs) -> Tensor:
    """Return the scores of a batch, in the form of `SpikeAwareScorer.scores`.

    Args:
        name: of a registered score.
        outputs: of the batch.

    Returns:
        (B,) float32 on the outputs' device, NaN where the coefficient is 0.
    """
    scores = SCORES[name](outputs)
    return torch.where(outputs.coefficients != 0, scores, torch.nan).float()
