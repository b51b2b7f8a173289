"""What rules have in common that find a fixed subset once, by tracking the training on all data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.largest import Rank, as_they_are, keep_largest
from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.rules import Rule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig

EPOCHS = 10
"""Of tracking, unless the configuration says otherwise."""


class TrackedSubset(Rule):
    """The S examples of largest score after `tracking_epochs` epochs on all data, the same ones ever after.

    The network is trained anew on them, each with weight 1: the gradient is that of the subset, not an
    estimate of that of the data set. Examples that are equal at the threshold are drawn at random, by `seed`.
    `max_ratio`, `min_probability` and `zero_scores` change nothing.

    Attributes:
        rank: by what examples are compared, from their scores.
    """

    weights = "one"
    fixed = True
    rank: Rank = staticmethod(as_they_are)

    def tracking(self, config: PruningConfig) -> int:
        """`tracking_epochs`, or `EPOCHS`."""
        return EPOCHS if config.tracking_epochs is None else config.tracking_epochs

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """1 for the largest, 0 for the others."""
        return keep_largest(parts, subset_size, self.rank)

    def combine(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int, config: PruningConfig
    ) -> NDArray[np.floating]:
        """The score of the tracking so far; it stays when that is over."""
        if epoch >= self.tracking(config):
            return np.where(np.isnan(before), new, before)
        return self.track(before, new, epoch)

    def track(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """The mean over the epochs so far. One that gave an example no score counts as those before it."""
        return np.where(np.isnan(before), new, before + (new - before) / np.float32(epoch + 1))
