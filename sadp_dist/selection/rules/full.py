"""No pruning: the whole dataset in every epoch, each example with weight 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.table import ScoreTable


@register("full")
class FullData(Rule):
    """Ratio 0 and p = 1, whatever `ratio` is."""

    needs_scores = False

    @property
    def asked_ratio(self) -> float:
        """0."""
        return 0.0

    def ratio(self, epoch: int) -> float:
        """0 in every epoch."""
        return 0.0

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = 1."""
        return np.ones(len(table))
