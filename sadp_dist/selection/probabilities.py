"""Variance-optimal selection probabilities, without a sort (Eqs. 28, 40, 41), and the weights they give.

Every example gets p = min((G + γ) / α, 1) with Σ p = S. Written with H = G - min(G) and the floor β,

    p = β + (1 - β) min(H / A, 1),    Σ min(H / A, 1) = (S - β N) / (1 - β),

where α = A / (1 - β) and γ = α β - min(G). So capping and smoothing settle together, as one capping problem
whose capped set is found anew. A round of it is one pass over the scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.passes import BLOCK, block_sums, in_threads, slices, stretches

ZERO_SCORES = ("floor", "paper")
_SAMPLE = 65_536  # scores, from which α is guessed


def selection_probabilities(
    scores: ArrayLike, subset_size: float, min_probability: float = 0.0, zero_scores: str = "floor"
) -> NDArray[np.float64]:
    """Selection probabilities that minimise the variance of the weighted gradient (Eqs. 13-16, 28, 40, 41).

    p = min((G + γ) / α, 1) with Σ p = S and the one γ >= 0 for which the smallest p is min(β, S / N); γ = 0
    where it is that large already. If fewer than S scores are positive, those get 1 and the zeros share the
    rest evenly.

    Args:
        scores: (N,) G, finite and >= 0; float32 and float64 are read as they are, without a copy.
        subset_size: S = Σ p, 0 <= S <= N; may be fractional.
        min_probability: the floor β, in [0, 1]. Above S / N it makes every p = S / N.
        zero_scores: "floor": a score of 0 is treated like any other; "paper": it gets p = 0, and the floor
            applies to the others.

    Returns:
        (N,) float64 in [0, 1], monotone in the score.

    Raises:
        UsageError: a score that is NaN, infinite or negative, or an argument out of its range.
    """
    G, _ = check_scores(scores)
    N = len(G)
    if not 0 <= subset_size <= N:
        raise UsageError(f"subset_size={subset_size} is outside [0, {N}], as there are {N} scores")
    if not 0 <= min_probability <= 1:
        raise UsageError(f"min_probability={min_probability} is outside [0, 1]")
    check_choice("zero_scores", zero_scores, ZERO_SCORES)
    return optimal_probabilities(G, float(subset_size), float(min_probability), zero_scores)


def optimal_probabilities(
    G: NDArray[np.floating], S: float, beta: float, zero_scores: str = "floor"
) -> NDArray[np.float64]:
    """As `selection_probabilities`, without checks."""
    N = len(G)
    if zero_scores == "paper":
        P = int(np.count_nonzero(G))
        if 0 < P < N:
            p = _with_floor(G, min(S, P), beta, P)
            p[G == 0] = max(S - P, 0.0) / (N - P)
            return p
    return _with_floor(G, S, beta, N)


def _with_floor(G: NDArray[np.floating], S: float, beta: float, N: int) -> NDArray[np.float64]:
    """p of N scores: of all, or of the positive ones, where the p of the others are of no account."""
    if beta * N >= S or S == N:
        return np.full(len(G), S / max(N, 1))
    zeros = len(G) - N

    def sums(threshold: float, offset: float) -> tuple[float, int]:
        total, below = block_sums(G, threshold, offset, some_below=zeros > 0)
        return total, below - zeros

    sample = _sample(G, but_zeros=zeros > 0)
    if beta > 0:
        smallest = smallest_score(G, positive=zeros > 0)
        S_above = (S - beta * N) / (1 - beta)
        A, _, _ = cap(sums, S_above, N, smallest, _guess(sample, S_above / N, smallest))
        if A is not None and A * beta / (1 - beta) >= smallest:
            return _probabilities(G, smallest, A, beta)
    A, capped, _ = cap(sums, S, N, 0.0, _guess(sample, S / N, 0.0))
    if A is None:
        return np.where(G > 0, 1.0, (S - capped) / (N - capped))
    return _probabilities(G, 0.0, A, 0.0)


def cap(
    sums: Callable[[float, float], tuple[float, int]],
    S: float,
    N: int,
    offset: float,
    start: float = math.inf,
) -> tuple[float | None, int, int]:
    """Solve Σ min(H / α, 1) = S for H = G - offset >= 0 by the iteration of Eq. 28.

    A round turns the sum over the examples that are not capped, R = {H < α}, into the next
    α = Σ_R H / (S - N + |R|). Whatever α it begins with, that is not below the solution; from then on α only
    falls and R only shrinks, and it is done when R stays.

    Args:
        sums: one pass over the scores: (threshold, offset) -> Σ H over H < threshold, and the count of these.
        S: 0 < S < N.
        N: number of scores.
        offset: at most the smallest score.
        start: a guess at α, which can save rounds; the paper's is infinity, where nothing is capped yet.

    Returns:
        α, the number of capped examples and the number of rounds. α is None where every H outside the capped
        set is 0 though S is not used up.
    """
    alpha, left, rounds = start, -1, 0
    while True:
        total, below = sums(alpha, offset)
        rounds += 1
        if below == left:
            return alpha, N - below, rounds
        mass = S - (N - below)
        if left < 0 and alpha < math.inf and (mass <= 0 or total == 0):
            alpha = math.inf  # the guess was so low that it tells nothing
            continue
        if mass <= 0:  # S are capped; what is left is nothing beside them
            return alpha, N - below, rounds
        if total == 0:
            return None, N - below, rounds
        alpha, left = total / mass if left < 0 else min(alpha, total / mass), below


def smallest_score(G: NDArray[np.floating], positive: bool = False) -> float:
    """Return the smallest score, or the smallest positive one; infinity for none."""

    def smallest(some: slice) -> float:
        return float(np.min(G[some], where=G[some] > 0 if positive else True, initial=np.inf))

    return min(in_threads(smallest, slices(len(G))))


def _sample(G: NDArray[np.floating], but_zeros: bool) -> NDArray[np.floating]:
    """Return every 64th score, or fewer of many scores."""
    step = 64
    while step < BLOCK and len(G) > step * _SAMPLE:
        step *= 2
    sample = np.ascontiguousarray(G[::step])
    return sample[sample > 0] if but_zeros else sample


def _guess(sample: NDArray[np.floating], kept: float, offset: float) -> float:
    """Return the α of a sample, of which the share `kept` is wanted; infinity for a small sample."""
    if len(sample) < 1000:
        return math.inf
    alpha, _, _ = cap(
        lambda threshold, offset: block_sums(sample, threshold, offset),
        kept * len(sample),
        len(sample),
        offset,
    )
    return alpha or math.inf


def _probabilities(G: NDArray[np.floating], offset: float, A: float, beta: float) -> NDArray[np.float64]:
    """p = β + (1 - β) min(H / A, 1), H = G - offset."""
    p = np.empty(len(G))
    in_threads(lambda some: _write(G[some], offset, A, beta, p[some]), stretches(len(G)))
    return p


@njit(cache=True, nogil=True)
def _write(
    scores: NDArray[np.floating], offset: float, A: float, beta: float, p: NDArray[np.float64]
) -> None:
    per_H = (1 - beta) / A  # a division for each example would take as long as all the rest
    for i in range(len(scores)):
        H = np.float64(scores[i]) - offset
        p[i] = min(beta + H * per_H, 1.0) if H < A else 1.0


def importance_weights(
    probabilities: ArrayLike, indices: ArrayLike, subset_size: float
) -> NDArray[np.float64]:
    """w_i = S / (N p_i) of the drawn examples (Eq. 11): Σ w x / S over them estimates the mean of x over N.

    Args:
        probabilities: (N,) by which they were drawn.
        indices: (n,) integers, the drawn examples.
        subset_size: S.

    Returns:
        (n,) float64.

    Raises:
        UsageError: an index out of range, or an example whose probability is 0.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    drawn = np.asarray(indices, dtype=np.int64)
    if len(drawn) and not (drawn.min() >= 0 and drawn.max() < len(p)):
        raise UsageError(f"indices reach from {drawn.min()} to {drawn.max()}, outside [0, {len(p) - 1}]")
    if len(drawn) and not p[drawn].min() > 0:
        i = int(drawn[np.argmin(p[drawn])])
        raise UsageError(f"probabilities[{i}]={p[i]} gives no weight: such an example is never drawn")
    return inverse_probabilities(p, drawn, subset_size / max(len(p), 1))


def inverse_probabilities(
    p: NDArray[np.float64], drawn: NDArray[np.integer], scale: float
) -> NDArray[np.float64]:
    """Return scale / p of the drawn examples, (n,)."""
    weights = np.empty(len(drawn))
    in_threads(lambda some: _weigh(p, drawn[some], scale, weights[some]), stretches(len(drawn)))
    return weights


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(
    p: NDArray[np.float64], drawn: NDArray[np.integer], scale: float, weights: NDArray[np.float64]
) -> None:
    for j in range(len(drawn)):
        weights[j] = scale / p[np.uint64(drawn[j])]  # unsigned: numba looks for no negative index


def check_scores(scores: ArrayLike, unseen: bool = False) -> tuple[NDArray[np.floating], float]:
    """Return scores as floats whose sums float64 can hold, and the power of 2 that they are multiplied by.

    Raises:
        UsageError: one that is negative or infinite, or NaN where there may be no unseen ones.
    """
    G = np.asarray(scores)
    if G.ndim != 1:
        raise UsageError(f"scores has shape {G.shape}; it must be (N,)")
    G = np.ascontiguousarray(G, dtype=G.dtype if G.dtype in (np.float32, np.float64) else np.float64)
    if len(G) == 0:
        return G, 1.0
    # Read as unsigned integers, floats >= 0 keep their order, and a NaN, an infinity and any negative number
    # are above them all: one pass of integer comparisons checks them.
    unsigned = G.view(np.uint32 if G.dtype == np.float32 else np.uint64)
    if unsigned.max() >= np.array(np.inf, G.dtype).view(unsigned.dtype):
        refuse_scores(G, np.isinf(G) | (G < 0) | (np.isnan(G) & (not unseen)))
        G = np.abs(G)  # there was a minus zero, or an unseen one
    largest = float(np.fmax.reduce(G)) if G.dtype == np.float64 else 1.0
    scale = 2.0 ** -math.frexp(largest)[1] if largest > 2.0**512 or 0 < largest < 2.0**-512 else 1.0
    return (G * scale if scale != 1 else G), scale


def refuse_scores(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> None:
    """Raise the UsageError that names the first score that is wrong, if any is."""
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UsageError(f"scores[{i}]={scores[i]} is not a score: scores are finite and at least 0")
