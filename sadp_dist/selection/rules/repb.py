"""RePB: losses are compared where they are comparable, and weights make up for what was left out so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.infobatch import InfoBatch, InfoBatchConfig
from sadp_dist.selection.table import ScoreTable

NOT_BELOW = 0.5
"""What a kept score has beside the count where the loss was not below its window's mean."""


@register("repb", InfoBatchConfig)
class RePB(InfoBatch):
    """Zhou et al., ICLR 2026, "Inconsistency Biases in Dynamic Data Pruning".

    Training compares each loss with the mean of its window, the latest few batches of its rank
    (`scoring.window`), which nearly the same network has seen, and pushes the result: 1, or 0 below the mean.
    The next epoch keeps all that were not below, and of the others each with the same probability z (uniform
    resampling). An example that was trained on in n of the k epochs, this one among both, has the weight
    k / n (cumulative temporal rescaling), so that over the epochs all examples weigh the same.

    A kept score is n and, where the example was not below the mean when it was last trained on, ½ beside it.
    z is found as InfoBatch's, from `ratio` or `keep_probability`, and as there the last (1 - δ) K epochs have
    all data.

    This is after the paper's abstract, which leaves open how large z is, whether the last epochs have all
    data and whether k / n counts this epoch.
    """

    score = "window-loss"
    only_its_score = True
    fills_unseen = False

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = z where the loss was below its window's mean, 1 elsewhere."""
        below = table.scores == np.floor(table.scores)  # not so of NaN
        return np.where(below, self.z(below, subset_size, epoch), 1.0)

    def weights(
        self,
        table: ScoreTable,
        drawn: NDArray[np.integer],
        p: NDArray[np.float64],
        subset_size: int,
        epoch: int,
    ) -> NDArray[np.float64]:
        """w = k / n."""
        return (epoch + 1) / (times_drawn(table.scores[drawn]).astype(np.float64) + 1)

    def combine(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """One time more, and whether the loss was below the mean this time."""
        return times_drawn(before) + 1 + np.where(new > 0, NOT_BELOW, 0)


def times_drawn(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return in how many epochs each example was trained on, 0 without a score."""
    times: NDArray[np.floating] = np.floor(np.nan_to_num(scores))
    return times
