"""No pruning: the whole dataset in every epoch, each example with weight 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, Uniform
from sadp_dist.selection.rules import Rule, register
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("full")
class FullData(Rule):
    """Ratio 0, whatever `ratio` is."""

    needs_scores = False

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """0 in every epoch."""
        return PruningSchedule(0.0, 0.0, config.epochs)

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """1 for all."""
        return Uniform(1.0), Capping(None, None, capped=0, rounds=0)
