"""Random pruning, the baseline: every example with the same probability, in every epoch as many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.table import ScoreTable


@register("random")
class RandomPruning(Rule):
    """p = S / N; the ratio stays at `ratio`, whatever `max_ratio` is."""

    needs_scores = False

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = S / N."""
        return np.full(len(table), subset_size / max(len(table), 1))
