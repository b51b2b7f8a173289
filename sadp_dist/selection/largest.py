"""Keeping the S examples of largest score, as probabilities, without a sort.

The S-th largest score is found digit by digit of its bits: floats >= 0 are in the order of their bits read as
integers. A look at all parts counts how many examples have each value of a digit, and so tells the one of the
S-th largest; the next look counts among the examples that share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, Uniform, in_ranges

_DIGIT = 16  # bits

Rank = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""By what examples are compared, from their scores: numbers >= 0."""


def as_they_are(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Examples are compared by their scores."""
    return scores.astype(np.float64, copy=False)


def keep_largest(parts: Parts, S: int, rank: Rank = as_they_are) -> tuple[Probability, Capping]:
    """p = 1 above the S-th largest score, 0 below it; those that are equal to it share what is left, Σ p = S.

    Args:
        parts: of the data set.
        S: 0 <= S <= N.
        rank: by what examples are compared; it can be pickled.
    """
    N = parts.ranges[-1].stop
    if S in (0, N):
        return Uniform(float(S > 0)), Capping(None, None, capped=S, rounds=0)
    found, above, equal, rounds = 0, 0, 0, 0  # the digits so far, and how many examples are above them
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        counts = np.sum(in_ranges(parts, count_digits, rank, found, shift), axis=0)
        from_here_on = above + np.cumsum(counts[::-1])[::-1]
        digit = int(np.flatnonzero(from_here_on >= S)[-1])
        equal = int(counts[digit])
        above, found, rounds = int(from_here_on[digit]) - equal, found << _DIGIT | digit, rounds + 1
    threshold = float(np.array(found, np.uint64).view(np.float64))
    share = (S - above) / equal
    return Largest(threshold, share, rank), Capping(None, None, above + equal * (share == 1), rounds)


@dataclass(frozen=True)
class Largest:
    """1 above the threshold, `share` at it, 0 below."""

    threshold: float
    share: float
    rank: Rank

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        G = self.rank(scores)
        return np.where(self.threshold < G, 1.0, np.where(self.threshold == G, self.share, 0.0))


def count_digits(scores: NDArray[np.floating], rank: Rank, found: int, shift: int) -> NDArray[np.int64]:
    """How many examples have each value of a digit, of those whose digits before it are the ones found."""
    bits = rank(scores).view(np.uint64) >> np.uint64(shift)
    of_them = bits[bits >> np.uint64(_DIGIT) == found]
    return np.bincount((of_them & np.uint64(2**_DIGIT - 1)).astype(np.int64), minlength=2**_DIGIT)
