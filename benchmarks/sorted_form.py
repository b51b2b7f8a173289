"""The sorted closed form of the selection probabilities (Eqs. 13-16), for tests and benchmarks."""

from __future__ import annotations

from bisect import bisect_left
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sorted_probabilities(scores: ArrayLike, subset_size: float) -> NDArray[np.float64]:
    """p_i = min(G_i / α, 1) with α = Σ_{i <= N-M} G_(i) / (S - M) (Eqs. 13-14), without smoothing.

    M, the number of capped examples, is the smallest one for which the largest score that is left stays below
    α (Eqs. 15-16). Costs a sort: O(N log N).

    Args:
        scores: (N,) finite, >= 0, with more than `subset_size` positive ones.
        subset_size: S, 0 < S <= N.

    Returns:
        (N,) float64.
    """
    G = np.asarray(scores)
    N, S = len(G), subset_size
    ascending = np.sort(G)
    sums = np.cumsum(ascending, dtype=np.float64)

    def alpha(M: int) -> float:
        return float(sums[N - M - 1] / (S - M))

    # M < S, and Eq. 15 holds from the M sought on.
    M = bisect_left(range(ceil(S) - 1), True, key=lambda M: float(ascending[N - M - 1]) < alpha(M))
    return np.minimum(G / np.float64(alpha(M)), 1.0)
