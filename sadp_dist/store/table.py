"""The scores of a range of examples as they come in: what one process keeps of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.part import Part
from sadp_dist.store.stats import may_be_best

UNSEEN = -1


class ScoreTable(Part):
    """A part of a run's data set, to which scores are added and about which questions are asked.

    Args:
        examples: its range; it begins at a multiple of `selection.parts.BLOCK`.
        dataset_size: N.
        labels: (n,) integers, the class of each example of the range, or None.

    Attributes:
        scores: (n,) float32, NaN where unseen.
        score_epochs: (n,) int32, the epoch of each score, -1 where unseen.
    """

    scores: NDArray[np.float32]

    def __init__(self, examples: range, dataset_size: int, labels: NDArray[np.integer] | None = None) -> None:
        n = len(examples)
        super().__init__(np.full(n, np.nan, np.float32), examples.start, dataset_size, labels)
        self.score_epochs = np.full(n, UNSEEN, np.int32)

    def merge(self, indices: NDArray[np.int64], scores: NDArray[np.float32], epoch: int) -> int:
        """Store checked records of this range; returns how many examples have a score for the first time."""
        if self.range.start:
            indices = indices - self.range.start
        return merge(self.scores, self.score_epochs, indices, scores, epoch)

    def scores_of(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of examples of this range."""
        return self.scores[indices - self.range.start]

    def top(self, k: int, lowest: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k examples of highest score (or lowest) of this range, best first; see `Store.top`."""
        candidates = np.flatnonzero(may_be_best(self.scores, k, lowest))
        return best(candidates + self.range.start, self.scores[candidates], k, lowest)

    def look(self, array: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(scores or score_epochs, *arguments), which gives something small; see `stats`."""
        return function(getattr(self, array), *arguments)

    def state(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Scores and their epochs, not copied."""
        return self.scores, self.score_epochs

    def restore(self, scores: NDArray[np.float32], score_epochs: NDArray[np.int32]) -> None:
        """Take over what `state` gave, and forget all plans."""
        self.scores, self.score_epochs = scores, score_epochs
        self._drawn.clear()

    def memory_bytes(self) -> int:
        """What scores, labels and plans take."""
        return super().memory_bytes() + self.score_epochs.nbytes


def best(
    indices: NDArray[np.int64], scores: NDArray[np.float32], k: int, lowest: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k examples of highest score (or lowest), best first; ties stay in the order in which they came."""
    keys = scores if lowest else -scores
    if 0 < k < len(keys):
        candidates = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        indices, scores, keys = indices[candidates], scores[candidates], keys[candidates]
    order = np.argsort(keys, kind="stable")[:k]
    return indices[order], scores[order]


@numba.njit(cache=True, nogil=True)
def merge(
    scores: NDArray[np.float32],
    score_epochs: NDArray[np.int32],
    indices: NDArray[np.int64],
    new_scores: NDArray[np.float32],
    epoch: int,
) -> int:
    """Keep the larger (epoch, score) of each example; returns how many have a score for the first time."""
    first = 0
    for position in range(len(indices)):
        example = indices[position]
        score = new_scores[position] + np.float32(0)  # -0 becomes 0: equal scores have equal bits
        if epoch > score_epochs[example]:
            first += score_epochs[example] < 0
            score_epochs[example] = epoch
            scores[example] = score
        elif epoch == score_epochs[example] and score > scores[example]:
            scores[example] = score
    return first
