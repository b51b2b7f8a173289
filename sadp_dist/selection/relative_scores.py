"""Scores relative to the mean of their time, averaged over epochs.

A network improves within an epoch, so that a score says when an example was seen as much as which example it
is. Divided by the mean score of the examples trained on around the same time, scores of different times
compare, and can be averaged. A score is one noisy measurement; the average of several says more, unless they
are old.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.passes import block_sums, in_threads, stretches
from sadp_dist.selection.table import ScoreTable

if TYPE_CHECKING:
    from sadp_dist.selection.plan import EpochPlan

AVERAGE, TRUST = "average", "trust"
"""Names of the arrays in `ScoreTable.state`, float32 (N,) each: the average of an example's relative scores,
and the sum of their weights in it; 0 without a score."""
_WINDOW = 512
_WINDOWS = 64
"""An epoch has a mean for each window of at least `_WINDOW` examples, but at most so many windows."""
_STEPS = 255
"""Into which an epoch's order is divided; the mean of a step is interpolated between windows."""


class Times(NamedTuple):
    """When the last epoch trained on each example, and the mean score of that time.

    Attributes:
        step: (N,) uint8; the step, from 1, of each example that the last epoch has scored, else 0.
        means: (`_STEPS` + 1,) the mean score around each step; that of all scores for step 0.
    """

    step: NDArray[np.uint8]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, table: ScoreTable, last: EpochPlan | None) -> Times:
        """Return the times of an epoch.

        Args:
            table: of the run, with the scores of the epoch.
            last: the plan of the epoch, whose order tells when each example was trained on; None for none.
        """
        total, count = block_sums(table.scores)
        means = np.full(_STEPS + 1, total / count if total > 0 else 1.0)
        step = np.zeros(len(table), np.uint8)
        if last is not None and last.drawn:
            means[1:] = local_means(table, last, step)
        return cls(step, means)


def add_to_averages(
    table: ScoreTable, last: EpochPlan | None, epoch: int, memory: float, times: Times
) -> None:
    """Add the scores that came since the plan before to the averages of their examples.

    Args:
        table: of the run; its `AVERAGE` and `TRUST` are changed in place.
        last: the plan before this one; None for none.
        epoch: that is planned now.
        memory: by which the weight of a score shrinks with each epoch, in [0, 1].
        times: of the plan before.
    """
    since = epoch - 1 if last is None else last.epoch
    fades = np.float32(memory ** max(epoch - since, 0))
    average, trust = table.state[AVERAGE], table.state[TRUST]
    scores, epochs, (step, means) = table.scores, table.score_epochs, times

    def add(some: slice) -> None:
        _add(scores[some], epochs[some], step[some], average[some], trust[some], since, means, fades)

    in_threads(add, stretches(len(table)))


def local_means(table: ScoreTable, plan: EpochPlan, step: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the weighted mean score around each step of an epoch's order, (`_STEPS`,).

    Args:
        table: of the run, with the scores of the epoch.
        plan: of the epoch.
        step: (N,) zeros; the step, from 1, of each example that the epoch has scored is written to it.
    """
    windows = min(max(plan.drawn // _WINDOW, 1), _WINDOWS)
    if plan.run_key is not None:  # the order is of blocks, and says nothing about time
        windows = 1
    weighted, weights = np.zeros(windows), np.zeros(windows)
    _go_through(
        table.scores, table.score_epochs, plan.indices, plan.epoch, plan.importance, weighted, weights, step
    )
    if weighted.sum() == 0:
        return np.ones(_STEPS)
    overall = weighted.sum() / weights.sum()
    known = (weights > 0) & (weighted > 0)
    means = np.divide(weighted, weights, out=np.full(windows, overall), where=known)
    middles = (np.arange(windows) + 0.5) / windows
    found: NDArray[np.float64] = np.interp((np.arange(_STEPS) + 0.5) / _STEPS, middles, means)
    return found


def with_averages(table: ScoreTable, name: str = AVERAGE) -> ScoreTable:
    """Return the table with the averages, or another array of its state, as its scores.

    NaN stays where there is no score.
    """
    seen = table.state[TRUST] > 0
    return replace(table, scores=np.where(seen, table.state[name], np.float32(np.nan)))


@njit(cache=True, nogil=True)
def _go_through(
    scores: NDArray[np.floating],
    score_epochs: NDArray[np.int32],
    indices: NDArray[np.integer],
    epoch: int,
    weights: NDArray[np.floating],
    weighted_sums: NDArray[np.float64],
    weight_sums: NDArray[np.float64],
    step: NDArray[np.uint8],
) -> None:
    n, windows = len(indices), len(weight_sums)
    for j in range(n):
        i = indices[j]
        if score_epochs[i] == epoch:
            window = j * windows // n
            weighted_sums[window] += weights[j] * scores[i]
            weight_sums[window] += weights[j]
            step[i] = 1 + j * _STEPS // n


@njit(cache=True, nogil=True)
def _add(
    scores: NDArray[np.floating],
    score_epochs: NDArray[np.int32],
    step: NDArray[np.uint8],
    average: NDArray[np.float32],
    trust: NDArray[np.float32],
    since: int,
    means: NDArray[np.float64],
    fades: np.float32,
) -> None:
    """Let all trust fade, and add the scores that are new; those of examples not planned are in step 0."""
    for i in range(len(trust)):
        past = trust[i] * fades
        if step[i] > 0 or (scores[i] >= 0 and (score_epochs[i] >= since or trust[i] == 0)):
            average[i] = (past * average[i] + scores[i] / means[step[i]]) / (past + 1)
            trust[i] = past + 1
        elif trust[i] > 0:
            trust[i] = max(past, np.float32(1e-30))  # an old score is still a score
