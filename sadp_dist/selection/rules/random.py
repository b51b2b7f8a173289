"""Random pruning, the baseline: every example with the same probability, in every epoch as many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, Uniform
from sadp_dist.selection.rules import Rule, register

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("random")
class RandomPruning(Rule):
    """p = S / N; the schedule stays at the mean ratio, whatever `max_ratio` is."""

    needs_scores = False

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """S / N for all."""
        share = subset_size / max(parts.ranges[-1].stop, 1)
        return Uniform(share), Capping(None, None, capped=0, rounds=0)
