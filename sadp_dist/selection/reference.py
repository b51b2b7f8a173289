"""The sorted closed form of the selection probabilities (Eqs. 13-16): what tests and benchmarks compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sorted_probabilities(scores: ArrayLike, subset_size: float) -> NDArray[np.float64]:
    """p_i = min(G_i / α, 1) with α = Σ_{i <= N-M} G_(i) / (S - M) (Eqs. 13-14), without smoothing.

    M, the number of capped examples, is the smallest one for which the largest score that is left stays below α
    (Eqs. 15-16). Costs a sort: O(N log N).

    Args:
        scores: (N,) finite, >= 0, with more than `subset_size` positive ones.
        subset_size: S, 0 < S <= N.

    Returns:
        (N,) float64.
    """
    G = np.asarray(scores)
    ascending = np.sort(G)
    N, S = len(G), subset_size
    below = np.cumsum(ascending, dtype=np.float64)  # below[n - 1] = sum of the n smallest
    M = np.arange(int(np.ceil(S)))
    alphas = below[N - 1 - M] / (S - M)
    alpha = alphas[np.argmax(ascending[N - 1 - M] < alphas)]
    return np.minimum(G / alpha, 1.0, dtype=np.float64)
