"""What comes into a run's score table, and its ranking by score."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.rule import Combine
from sadp_dist.selection.table import ScoreTable
from sadp_dist.store.engine.stats import may_be_best

RANKINGS = ("score", "change")


def merge(
    table: ScoreTable,
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
    epoch: int,
    combine: Combine | None = None,
) -> int:
    """Store checked scores of one epoch in a table.

    Args:
        table: of the run.
        indices: (n,) examples.
        scores: (n,) theirs.
        epoch: of the scores.
        combine: what a score becomes when a later epoch gives a new one; None: the new one.

    Returns:
        How many examples have a score for the first time.
    """
    if combine is not None:
        # From the epoch before, also where this one has given a score already: then the larger one stays.
        later = table.score_epochs[indices] < epoch
        before = np.where(later, table.scores[indices], table.scores_before[indices])
        scores = np.ascontiguousarray(combine(before, scores, epoch), np.float32)
    return _merge(table.scores, table.score_epochs, table.scores_before, indices, scores, epoch)


def top(
    table: ScoreTable, k: int, lowest: bool, by: str = "score"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the first k examples in an order of `RANKINGS`; see `Store.top`.

    A change is a score less the one of the epoch scored before.
    """
    values = table.scores if by == "score" else table.scores - table.scores_before
    indices = np.flatnonzero(may_be_best(np.abs(values), k, lowest))
    values = values[indices]
    keys = np.abs(values) if lowest else -np.abs(values)
    if 0 < k < len(keys):
        candidates = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        indices, values, keys = indices[candidates], values[candidates], keys[candidates]
    order = np.argsort(keys, kind="stable")[:k]
    return indices[order], values[order]


@numba.njit(cache=True, nogil=True)
def _merge(
    scores: NDArray[np.float32],
    score_epochs: NDArray[np.int32],
    scores_before: NDArray[np.float32],
    indices: NDArray[np.int64],
    new_scores: NDArray[np.float32],
    epoch: int,
) -> int:
    """Keep the larger (epoch, score) of each example; returns how many have a score for the first time.

    The score that a later epoch replaces is the one before, for good: what comes of an epoch that is not the
    latest is dropped.
    """
    first = 0
    for position in range(len(indices)):
        example = indices[position]
        score = new_scores[position] + np.float32(0)  # -0 becomes 0: equal scores have equal bits
        if epoch > score_epochs[example]:
            first += score_epochs[example] < 0
            scores_before[example] = scores[example]
            score_epochs[example] = epoch
            scores[example] = score
        elif epoch == score_epochs[example] and score > scores[example]:
            scores[example] = score
    return first
