"""Batch Loss Score: InfoBatch's rule, by a moving average of the losses of an example's batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.infobatch import InfoBatch, InfoBatchConfig

ALPHA = 0.9
"""Of the moving average (α), as in the authors' recipes; their own example of use has 0.7."""


@register("batch-loss", InfoBatchConfig)
class BatchLoss(InfoBatch):
    """Zhou et al., CVPR 2026: s <- α s + (1 - α) L(batch) in every epoch that trains on an example, from 0.

    As in the authors' code nothing makes up for the beginning at 0: what is left out more often has a lower
    score. The batch is that of a rank, a micro-batch where gradients are accumulated, and its loss is the
    mean of its examples', not weighted.
    """

    score = "batch-loss"

    def combine(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """α s + (1 - α) L."""
        s, α = np.nan_to_num(before), np.float32(ALPHA)
        return α * s + (1 - α) * new
