"""Spike-aware data pruning: probabilities from the scores, more pruning as training goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.config import ratio_of_epoch
from sadp_dist.selection.passes import Extremes
from sadp_dist.selection.probabilities import optimal_probabilities, smallest_score
from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.table import ScoreTable


@register("sadp")
class SADP(Rule):
    """The paper's rule (Algorithm 1)."""

    def ratio(self, epoch: int) -> float:
        """r_k of Eq. 42, with k = epoch + 1, or k - ½ for a mean of exactly r."""
        r, r_max, K = self.config.ratio, self.config.max_ratio, self.config.epochs
        k = epoch + 1 if self.config.schedule == "paper" else epoch + 0.5
        return ratio_of_epoch(r, r if r_max is None else r_max, K, k)

    def floor(self, subset_size: int, dataset_size: int) -> float:
        """β; b S / N with a relative floor."""
        share = subset_size / max(dataset_size, 1) if self.config.floor == "relative" else 1.0
        return float(self.config.min_probability * share)

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = min((G + γ) / α, 1) with Σ p = S (Eqs. 40 and 41)."""
        beta, zero_scores = self.floor(subset_size, len(table)), self.config.zero_scores
        return optimal_probabilities(table.scores, subset_size, beta, zero_scores)

    def gamma(self, table: ScoreTable, p: NDArray[np.float64], found: Extremes) -> float | None:
        """γ = α β - min(G), where the smallest p is the floor β; else 0. None where p has another form."""
        G, beta = table.scores, self.floor(round(found.total), len(p))
        positive = self.config.zero_scores == "paper" and bool((G > 0).any())
        G_min = smallest_score(G, positive)
        p_min = float(np.min(p, where=G > 0, initial=np.inf)) if positive else found.smallest
        if p_min == 1 or found.largest <= beta * (1 + 1e-12):  # p = 1 or p = S / N for all
            return None
        if p_min > beta:
            return 0.0 if G_min > 0 else None  # the zeros share what the positive scores leave
        if beta == 0:
            return 0.0
        i = found.below_one
        if p[i] == beta:
            i = int(np.argmin(np.where(p == 1, G, np.inf)))  # the smallest score that is
        alpha = (float(G[i]) - G_min) / (p[i] - beta)
        return float(alpha * beta - G_min)
