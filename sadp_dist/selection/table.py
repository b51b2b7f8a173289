"""The plain arrays that plans are made of: one entry for each example of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.passes import block_sums, in_threads, slices

if TYPE_CHECKING:
    from sadp_dist.selection.rule import Combine

NOT_SCORED = -1


@dataclass
class ScoreTable:
    """What is known about each example, (N,) each.

    Attributes:
        scores: float32 or float64, NaN where there is none.
        score_epochs: int32, the epoch of each score, -1 where there is none.
        scores_before: float32, the score of the epoch scored before that one, NaN where there is none.
        labels: integers, the class of each example; None without.
        state: further arrays that the pruning rule keeps, by name; see `Rule.state`.
    """

    scores: NDArray[np.floating]
    score_epochs: NDArray[np.int32]
    scores_before: NDArray[np.float32]
    labels: NDArray[np.integer] | None = None
    state: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def empty(
        cls, N: int, labels: NDArray[np.integer] | None = None, state: Mapping[str, type] | None = None
    ) -> ScoreTable:
        """Return the table of a run that begins.

        Args:
            N: number of examples.
            labels: (N,) class of each example.
            state: name -> dtype of the further arrays, which begin at 0.
        """
        nan = np.full(N, np.nan, np.float32)
        return cls(nan, np.full(N, NOT_SCORED, np.int32), nan.copy(), labels, _zeros(N, state))

    @classmethod
    def of_scores(
        cls,
        scores: NDArray[np.floating],
        labels: NDArray[np.integer] | None = None,
        state: Mapping[str, type] | None = None,
    ) -> ScoreTable:
        """Return a table of scores alone; their epochs and the scores before take no memory."""
        N = len(scores)
        epochs = np.broadcast_to(np.int32(NOT_SCORED), N)
        before = np.broadcast_to(np.float32(np.nan), N)
        return cls(scores, epochs, before, labels, _zeros(N, state))

    def __len__(self) -> int:
        return len(self.scores)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays but the labels by name; they are not copied."""
        return {
            "scores": self.scores,
            "score_epochs": self.score_epochs,
            "scores_before": self.scores_before,
            **self.state,
        }

    def copy(self) -> ScoreTable:
        """Return the same with arrays of its own; the labels, which nothing changes, are shared."""
        state = {name: array.copy() for name, array in self.state.items()}
        return ScoreTable(
            self.scores.copy(), self.score_epochs.copy(), self.scores_before.copy(), self.labels, state
        )

    def memory_bytes(self) -> int:
        """Return the bytes of all arrays, labels included."""
        labels = 0 if self.labels is None else self.labels.nbytes
        return labels + sum(array.nbytes for array in self.arrays().values())

    def merge(
        self,
        indices: NDArray[np.int64],
        scores: NDArray[np.float32],
        epoch: int,
        combine: Combine | None = None,
    ) -> int:
        """Store checked scores of one epoch.

        Args:
            indices: (n,) examples.
            scores: (n,) theirs.
            epoch: of the scores.
            combine: what a score becomes when a later epoch gives a new one; None: the new one.

        Returns:
            How many examples have a score for the first time.
        """
        if combine is not None:
            # From the epoch before, also where this one has given a score already: then the larger one stays.
            later = self.score_epochs[indices] < epoch
            before = np.where(later, self.scores[indices], self.scores_before[indices])
            scores = np.ascontiguousarray(combine(before, scores, epoch), np.float32)
        return _merge(self.scores, self.score_epochs, self.scores_before, indices, scores, epoch)

    def filled(self, unseen: str) -> ScoreTable:
        """Return a table in which examples without a score have a stand-in; itself where all have one.

        Args:
            unseen: "mean" or "max" of the scores seen. Where none is seen, the stand-in is 1.
        """
        if not self._has_nan():
            return self
        total, count = block_sums(self.scores)
        if count == 0:
            stand_in = 1.0
        elif unseen == "max":
            stand_in = float(np.fmax.reduce(self.scores))
        else:
            stand_in = total / count
        scores = np.where(np.isnan(self.scores), self.scores.dtype.type(stand_in), self.scores)
        return replace(self, scores=scores)

    def _has_nan(self) -> bool:
        def largest(some: slice) -> float:
            return float(np.max(self.scores[some], initial=0.0))  # NaN where there is one

        return any(math.isnan(found) for found in in_threads(largest, slices(len(self))))


def _zeros(N: int, state: Mapping[str, type] | None) -> dict[str, NDArray[Any]]:
    return {name: np.zeros(N, dtype) for name, dtype in (state or {}).items()}


@njit(cache=True, nogil=True)
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
