"""The scores of a range of examples as they come in: what one process keeps of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.part import Part
from sadp_dist.store.engine.classes import ClassSums, class_sums
from sadp_dist.store.engine.stats import may_be_best

UNSEEN = -1
RANKINGS = ("score", "change")


class State(NamedTuple):
    """The scores of a range of examples, (n,) each.

    Attributes:
        scores: float32, NaN where unseen.
        score_epochs: int32, the epoch of each score, -1 where unseen.
        scores_before: float32, of the epoch scored before that one; NaN where there is none.
    """

    scores: NDArray[np.float32]
    score_epochs: NDArray[np.int32]
    scores_before: NDArray[np.float32]

    @classmethod
    def empty(cls, n: int) -> State:
        """Of examples that are all unseen."""
        nan = np.full(n, np.nan, np.float32)
        return cls(nan, np.full(n, UNSEEN, np.int32), nan.copy())

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> State:
        """From the arrays of a file; older ones have no scores before."""
        scores = arrays["scores"]
        return cls(scores, arrays["score_epochs"], arrays.get("scores_before", np.full_like(scores, np.nan)))

    def copy(self) -> State:
        """The same, in arrays of its own."""
        return State(self.scores.copy(), self.score_epochs.copy(), self.scores_before.copy())

    def within(self, examples: range) -> State:
        """Of a range of these examples; it shares their memory."""
        part = slice(examples.start, examples.stop)
        return State(self.scores[part], self.score_epochs[part], self.scores_before[part])


class ScoreTable(Part):
    """A part of a run's data set, to which scores are added and about which questions are asked.

    Args:
        examples: its range; it begins at a multiple of `selection.parts.BLOCK`.
        dataset_size: N.
        labels: (n,) integers, the class of each example of the range, or None.
        combine: `PruningConfig.combine` of the run: what a score becomes when another epoch gives a new one.

    Attributes:
        scores: (n,) float32, NaN where unseen.
        score_epochs: (n,) int32, the epoch of each score, -1 where unseen.
        scores_before: (n,) float32, NaN where fewer than two epochs were scored.
    """

    scores: NDArray[np.float32]

    def __init__(
        self,
        examples: range,
        dataset_size: int,
        labels: NDArray[np.integer] | None = None,
        combine: Callable[..., NDArray[np.floating]] | None = None,
    ) -> None:
        self._combine = combine
        scores, self.score_epochs, self.scores_before = State.empty(len(examples))
        super().__init__(scores, examples.start, dataset_size, labels)

    @property
    def changes(self) -> NDArray[np.float32]:
        """(n,) each score less the one of the epoch scored before; NaN where there is none."""
        return self.scores - self.scores_before

    def merge(self, indices: NDArray[np.int64], scores: NDArray[np.float32], epoch: int) -> int:
        """Store checked records of this range; returns how many examples have a score for the first time."""
        if self.range.start:
            indices = indices - self.range.start
        if self._combine is not None:
            # From the epoch before, also where this one has given a score already: then the larger one stays.
            later = self.score_epochs[indices] < epoch
            before = np.where(later, self.scores[indices], self.scores_before[indices])
            scores = np.ascontiguousarray(self._combine(before, scores, epoch), np.float32)
        return merge(*self.state(), indices, scores, epoch)

    def scores_of(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of examples of this range."""
        return self.scores[indices - self.range.start]

    def top(self, k: int, lowest: bool, by: str = "score") -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The first k examples of this range in an order of `RANKINGS`; see `Store.top`."""
        values = self.scores if by == "score" else self.changes
        candidates = np.flatnonzero(may_be_best(np.abs(values), k, lowest))
        return best(candidates + self.range.start, values[candidates], k, lowest)

    def class_sums(self, epoch: int | None) -> ClassSums | None:
        """What there is of each class, drawn in the plan of an epoch if there is one.

        None without labels, or with too many classes.
        """
        if self._labels is None:
            return None
        if epoch is None:
            return class_sums(self._labels, self.scores, np.empty(0, np.int64))
        return class_sums(self._labels, self.scores, self._drawn[epoch].indices - self.range.start)

    def look(self, array: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(scores or score_epochs, *arguments), which gives something small; see `stats`."""
        return function(getattr(self, array), *arguments)

    def state(self) -> State:
        """What there is of the examples beside plans, not copied."""
        return State(self.scores, self.score_epochs, self.scores_before)

    def restore(
        self,
        scores: NDArray[np.float32],
        score_epochs: NDArray[np.int32],
        scores_before: NDArray[np.float32],
    ) -> None:
        """Take over what `state` gave, and forget all plans."""
        self.scores, self.score_epochs, self.scores_before = scores, score_epochs, scores_before
        self._drawn.clear()

    def memory_bytes(self) -> int:
        """What scores, labels and plans take."""
        return super().memory_bytes() + self.score_epochs.nbytes + self.scores_before.nbytes


def best(
    indices: NDArray[np.int64], values: NDArray[np.float32], k: int, lowest: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k examples of largest value (or smallest), whatever its sign; ties stay in the order they came."""
    keys = np.abs(values) if lowest else -np.abs(values)
    if 0 < k < len(keys):
        candidates = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        indices, values, keys = indices[candidates], values[candidates], keys[candidates]
    order = np.argsort(keys, kind="stable")[:k]
    return indices[order], values[order]


@numba.njit(cache=True, nogil=True)
def merge(
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
