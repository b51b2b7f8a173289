"""Scores in groups of like size: k-means in one dimension, its best solution, from a histogram.

A histogram is counts alone, so that those of many parts add up to the same bits in any order. Its bins are
the float32 numbers that share their upper 16 bits, a relative width of at most 1/128.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

BINS = 0x7F80
"""Of the finite float32 numbers from 0; the sign's bit is 0, and above are infinity and NaN."""


def histogram(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many scores lie in each bin, (BINS,); all of them are finite and at least 0."""
    return np.bincount(bin_of(scores), minlength=BINS)


def bin_of(scores: NDArray[np.floating]) -> NDArray[np.uint32]:
    """The bin of each score: larger scores are never in lower bins."""
    return np.asarray(scores, np.float32).view(np.uint32) >> np.uint32(16)


def group_ends(counts: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Cut a histogram into the groups whose scores lie nearest to their group's mean, in squares (k-means).

    Args:
        counts: (BINS,) of all scores.
        groups: how many there are to be, at least 1.

    Returns:
        (g,) ascending, the bin at which each group ends, exclusive; g is less than `groups` where there are
        fewer bins with scores in them. Empty without scores.
    """
    filled = np.flatnonzero(counts)
    groups = min(groups, len(filled))
    if groups == 0:
        return np.empty(0, np.int64)
    middle = ((filled.astype(np.uint32) << 16) + 0x8000 * (filled > 0)).astype(np.uint32).view(np.float32)
    of_last = _last_of_groups(middle.astype(np.float64), counts[filled].astype(np.float64), groups)
    return filled[of_last] + 1


@njit(cache=True, nogil=True)
def _last_of_groups(x: NDArray[np.float64], n: NDArray[np.float64], groups: int) -> NDArray[np.int64]:
    """The last place of each group, where x (ascending, n of each) is cut with the least Σ n (x - mean)².

    By dynamic programming over the places: least[g, j] is the best for the first j places in g groups. Its
    last cut lies between that of g - 1 groups and that of one place more, which bounds the search.
    """
    J = len(x)
    count, first, second = np.zeros(J + 1), np.zeros(J + 1), np.zeros(J + 1)
    for j in range(J):
        count[j + 1] = count[j] + n[j]
        first[j + 1] = first[j] + n[j] * x[j]
        second[j + 1] = second[j] + n[j] * x[j] * x[j]
    least = np.full((groups + 1, J + 1), np.inf)
    cut = np.zeros((groups + 1, J + 2), np.int64)
    least[0, 0] = 0.0
    for g in range(1, groups + 1):
        cut[g, J + 1] = J
        for j in range(J, g - 1, -1):
            for i in range(max(cut[g - 1, j], g - 1), min(cut[g, j + 1], j - 1) + 1):
                total = first[j] - first[i]
                spread = second[j] - second[i] - total * total / (count[j] - count[i])
                if least[g - 1, i] + max(spread, 0.0) < least[g, j]:
                    least[g, j] = least[g - 1, i] + max(spread, 0.0)
                    cut[g, j] = i
    last = np.empty(groups, np.int64)
    j = J
    for g in range(groups, 0, -1):
        last[g - 1] = j - 1
        j = cut[g, j]
    return last
