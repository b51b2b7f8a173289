"""What rules have in common that find a fixed subset once, by tracking the training on all data."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.rule import Rule
from sadp_dist.selection.table import ScoreTable


class TrackedConfig(PruningConfig):
    """Options of rules that track.

    Attributes:
        tracking_epochs: epochs on all data that come before the run proper and give it its scores.
    """

    tracking_epochs: Annotated[int, Field(ge=1)] = 10


class TrackedSubset(Rule):
    """The S examples of largest score after `tracking_epochs` epochs on all data, the same ones ever after.

    The network is trained anew on them, each with weight 1: the gradient is that of the subset, not an
    estimate of that of the data set. Examples that are equal at the threshold are drawn at random, by `seed`.
    `max_ratio`, `min_probability` and `zero_scores` change nothing.
    """

    weighting = "one"
    fixed = True

    @property
    def tracked_epochs(self) -> int:
        """`tracking_epochs`."""
        return int(self.config.tracking_epochs)

    def rank(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return by what examples are compared, numbers >= 0: their scores."""
        return scores

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """1 above the S-th largest score, 0 below it; those that are equal to it share what is left."""
        G, N, S = self.rank(table.scores), len(table), subset_size
        if S in (0, N):
            return np.full(N, float(S > 0))
        threshold = np.partition(G, N - S)[N - S]
        above, equal = np.count_nonzero(threshold < G), np.count_nonzero(threshold == G)
        p: NDArray[np.float64] = (threshold < G).astype(np.float64)
        p[threshold == G] = (S - above) / equal
        return p

    def combine(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """The score of the tracking so far; it stays when that is over."""
        if epoch >= self.tracked_epochs:
            return np.where(np.isnan(before), new, before)
        return self.track(before, new, epoch)

    def track(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """The mean over the epochs so far. One that gave an example no score counts as those before it."""
        return np.where(np.isnan(before), new, before + (new - before) / np.float32(epoch + 1))
