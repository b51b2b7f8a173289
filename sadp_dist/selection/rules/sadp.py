"""Spike-aware data pruning: probabilities from the scores, more pruning as training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, optimal_probability
from sadp_dist.selection.rules import Rule, register
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("sadp")
class SpikeAwarePruning(Rule):
    """The paper's rule (Algorithm 1)."""

    has_floor = True

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """Eq. 42."""
        return PruningSchedule(config.ratio, config.max_ratio, config.epochs)

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """Eqs. 40 and 41."""
        return optimal_probability(parts, subset_size, config.min_probability, config.zero_scores)
