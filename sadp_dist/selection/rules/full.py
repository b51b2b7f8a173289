"""No pruning: the whole dataset in every epoch, each example with weight 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.rules import register
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("full")
class FullData:
    """Ratio 0, whatever `ratio` is."""

    needs_scores = False

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """0 in every epoch."""
        return PruningSchedule(0.0, 0.0, config.epochs)

    def probabilities(
        self, scores: NDArray[np.floating], subset_size: int, config: PruningConfig
    ) -> tuple[NDArray[np.float64], Capping]:
        """1 for all."""
        return np.ones(len(scores)), Capping(None, None, capped=0, rounds=0)
