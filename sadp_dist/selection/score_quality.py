"""How well the scores of a run serve it, measured while it runs from scores that come twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.plan import EpochPlan
from sadp_dist.selection.table import ScoreTable

_COMPARED = 8192
"""Examples whose ranks are compared, at most."""
LEAST = 64
"""Examples without which nothing is said."""
_REPRESENTED = 0.1
"""How far Σ w may be from S: the weights of a subset that stands for all examples add up to S. Carried draws
leave examples of small p out for a long time at first, and those drawn say nothing about them."""


@dataclass(frozen=True)
class ScoreQuality:
    """How well the plan of an epoch was chosen, by the scores that the epoch then gave.

    Attributes:
        noise_ratio: η, the second moment of a step's unbiased gradient relative to that of a uniformly drawn
            step of as many examples: Σ G²/p over Σ G²/(S/N), with the scores G of the epoch. Below 1,
            choosing by score makes a step as good as 1/η uniform ones. None where the rule has no such
            weights, or where the examples drawn do not stand for all: for carried draws that can be most of
            the first N / (b S) epochs.
        rank_correlation: Spearman's, of the scores of this epoch and those before; None for too few.
    """

    noise_ratio: float | None = None
    rank_correlation: float | None = None


def score_quality(table: ScoreTable, plan: EpochPlan, importance: bool) -> ScoreQuality:
    """Return how well an epoch was chosen, once its scores are in the table.

    Args:
        table: of the run.
        plan: of the epoch.
        importance: the plan's weights are S / (N p).
    """
    # An example's score estimates G² with weight w: E Σ w² G² over those drawn is Σ (S/N)² G²/p.
    squares, weighted, count = _moments(
        table.scores, table.score_epochs, plan.indices, plan.importance, plan.epoch
    )
    stands_for_all = abs(float(plan.importance.sum()) / max(plan.subset_size, 1) - 1) <= _REPRESENTED
    known = importance and stands_for_all and count >= LEAST and weighted > 0
    return ScoreQuality(squares / weighted if known else None, _rank_correlation(table, plan))


def in_words(noise_ratio: float | None) -> str | None:
    """Return what a noise ratio means, in one sentence; None for None."""
    if noise_ratio is None:
        return None
    if noise_ratio > 0.97:
        return "scores do not help in this run: use method=rs2"
    return f"choosing by score makes a step as good as {1 / noise_ratio:.2g} random ones"


@njit(cache=True, nogil=True)
def _moments(
    scores: NDArray[np.floating],
    score_epochs: NDArray[np.int32],
    indices: NDArray[np.integer],
    weights: NDArray[np.floating],
    epoch: int,
) -> tuple[float, float, int]:
    squares, weighted, count = 0.0, 0.0, 0
    for j in range(len(indices)):
        i = indices[j]
        if score_epochs[i] == epoch:
            of_example = weights[j] * np.float64(scores[i]) ** 2
            squares += weights[j] * of_example
            weighted += of_example
            count += 1
    return squares, weighted, count


def _rank_correlation(table: ScoreTable, plan: EpochPlan) -> float | None:
    some = plan.indices[: 4 * _COMPARED]  # their order is random
    both = some[(table.score_epochs[some] == plan.epoch) & (table.scores_before[some] >= 0)][:_COMPARED]
    if len(both) < LEAST:
        return None
    now, before = (_ranks(values[both]) for values in (table.scores, table.scores_before))
    if now.std() == 0 or before.std() == 0:
        return None
    return float(np.corrcoef(now, before)[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rank of each value; equal ones share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return shared
