"""Random pruning, the baseline: every example with the same probability, in every epoch as many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.rules import register
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("random")
class RandomPruning:
    """p = S / N; the schedule stays at the mean ratio, whatever `max_ratio` is."""

    needs_scores = False

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """The mean ratio in every epoch."""
        return PruningSchedule(config.ratio, config.ratio, config.epochs)

    def probabilities(
        self, scores: NDArray[np.floating], subset_size: int, config: PruningConfig
    ) -> tuple[NDArray[np.float64], Capping]:
        """S / N for all."""
        N = len(scores)
        return np.full(N, subset_size / max(N, 1)), Capping(None, None, capped=0, rounds=0)
