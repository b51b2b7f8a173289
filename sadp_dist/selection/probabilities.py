"""Variance-optimal selection probabilities with a floor, without a sort (Eqs. 28, 40, 41).

Every example gets p = min((G + γ) / α, 1) with Σ p = S. With H = G - min(G) and a floor β,

    p = β + (1 - β) min(H / A, 1),    Σ min(H / A, 1) = (S - β N) / (1 - β),

is the same thing with α = A / (1 - β) and γ = α β - min(G), so that smoothing and capping settle in one capping
problem, whose capped set is found anew. Its rounds take sums and counts of one pass over the scores, in blocks, and
add them exactly: shards of a score table that begin at a multiple of `BLOCK` give the same bits as the whole table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.choices import check_choice

ZERO_SCORES = ("floor", "paper")
BLOCK = 16_384
COLUMNS = 256

PartialSums = Callable[[float, float], tuple[NDArray[np.float64], int]]
"""(threshold, offset) -> sums of G - offset over each block's scores with G - offset < threshold, and their count."""


@dataclass(frozen=True)
class Capping:
    """How the probabilities of an epoch came about.

    Attributes:
        alpha: α of p = min((G + γ) / α, 1), in the unit of the scores; None where no α gives these probabilities
            (they are all S / N, or zero scores have a share of their own).
        gamma: γ >= 0, in the unit of the scores; None where `alpha` is.
        capped: number of examples whose score alone makes p = 1.
        rounds: passes over the scores that it took.
        floor_in_force: the floor is above S / N, so that every p is S / N.
    """

    alpha: float | None
    gamma: float | None
    capped: int
    rounds: int
    floor_in_force: bool = False


def selection_probabilities(
    scores: ArrayLike, subset_size: float, min_probability: float = 0.0, zero_scores: str = "floor"
) -> NDArray[np.float64]:
    """Selection probabilities that minimise the variance of the weighted gradient (Eqs. 13-16, 28, 40, 41).

    p = min((G + γ) / α, 1) with Σ p = S and the one γ >= 0 for which the smallest p is min(β, S / N); γ = 0 where it
    is that large already. If fewer than S scores are positive, those get 1 and the zeros share the rest.

    Args:
        scores: (N,) G >= 0, finite; float32 and float64 are read as they are, without a copy.
        subset_size: S, the sum of the probabilities, 0 <= S <= N; may be fractional.
        min_probability: the floor β, in [0, 1]. Above S / N it makes every p = S / N.
        zero_scores: "floor": a score of 0 is one like any other; "paper": it gets p = 0.

    Returns:
        (N,) float64 in [0, 1], monotone in the score.

    Raises:
        UsageError: a score that is NaN, infinite or negative, or an argument out of its range.
    """
    return capped_probabilities(scores, subset_size, min_probability, zero_scores)[0]


def capped_probabilities(
    scores: ArrayLike, subset_size: float, min_probability: float = 0.0, zero_scores: str = "floor"
) -> tuple[NDArray[np.float64], Capping]:
    """As `selection_probabilities`, with the record of how they came about."""
    G, smallest, largest = _checked_scores(scores)
    N, S, beta = len(G), float(subset_size), float(min_probability)
    if not 0 <= S <= N:
        raise UsageError(f"subset_size={subset_size} is outside [0, {N}], the number of scores")
    if not 0 <= beta <= 1:
        raise UsageError(f"min_probability={min_probability} is outside [0, 1]")
    check_choice("zero_scores", zero_scores, ZERO_SCORES)

    if zero_scores == "paper" and smallest == 0 and largest > 0:
        positive = G > 0
        P = int(np.count_nonzero(positive))
        p = np.full(N, max(S - P, 0.0) / (N - P))
        p[positive], capping = capped_probabilities(G[positive], min(S, P), beta)
        return p, capping
    if beta * N >= S or S == N:
        floor_in_force = beta * N > S
        return np.full(N, S / N if N else 0.0), Capping(None, None, 0, 0, floor_in_force)

    scale = 1.0
    if largest > 2.0**900 or 0 < largest < 2.0**-900:  # beyond any float32: sums of these could leave float64
        scale = 2.0 ** -math.frexp(largest)[1] if largest > 1 else 2.0**900
        G, smallest = G * scale, smallest * scale

    rounds = 0
    if beta > 0:
        A, capped, rounds = cap(partial_sums_of(G), (S - beta * N) / (1 - beta), N, smallest)
        if A is not None and A * beta / (1 - beta) >= smallest:
            alpha, gamma = A / (1 - beta), A * beta / (1 - beta) - smallest
            p = np.empty(N)
            _write(G, smallest, A, beta, p)
            return p, Capping(alpha / scale, gamma / scale, capped, rounds)
    alpha, capped, more = cap(partial_sums_of(G), S, N, 0.0)
    rounds += more
    if alpha is None:
        share = (S - capped) / (N - capped)
        return np.where(G > 0, 1.0, share), Capping(None, None, capped, rounds)
    p = np.empty(N)
    _write(G, 0.0, alpha, 0.0, p)
    return p, Capping(alpha / scale, 0.0, capped, rounds)


def cap(partial_sums: PartialSums, S: float, N: int, offset: float) -> tuple[float | None, int, int]:
    """Solve Σ min(H / α, 1) = S for H = G - offset >= 0 by the iteration of Eq. 28.

    A round turns the sum over the not yet capped, R = {H < α}, into the next α = Σ_R H / (S - N + |R|). α only falls,
    so R only shrinks, and the rounds end when it does not.

    Returns:
        α, the number of capped examples and the number of rounds. α is None where everything below the cap is 0, so
        that those examples have to share S - (number capped).
    """
    alpha, left, rounds = math.inf, N + 1, 0
    while True:
        sums, below = partial_sums(alpha, offset)
        rounds += 1
        if below == left:
            return alpha, N - below, rounds
        mass = S - (N - below)
        total = math.fsum(sums)
        if mass <= 0:  # exactly S are capped; what is left is 0 beside them
            return alpha, N - below, rounds
        if total == 0:
            return None, N - below, rounds
        alpha, left = min(alpha, total / mass), below


def partial_sums_of(scores: NDArray[np.floating]) -> PartialSums:
    """The pass over one array of scores, as `cap` asks for it."""
    sums = np.empty(-(-len(scores) // BLOCK))

    def partial_sums(threshold: float, offset: float) -> tuple[NDArray[np.float64], int]:
        return sums, _block_sums(scores, threshold, offset, sums)

    return partial_sums


@njit(cache=True, nogil=True)
def _block_sums(scores, threshold, offset, sums):
    """One fused pass. A block is summed in columns, which processors add side by side, always in this same order."""
    total, below = np.empty(COLUMNS), np.empty(COLUMNS, np.int64)
    count = 0
    for block in range(len(sums)):
        total[:] = 0.0
        below[:] = 0
        end = min((block + 1) * BLOCK, len(scores))
        for begin in range(block * BLOCK, end, COLUMNS):
            row = scores[begin : min(begin + COLUMNS, end)]
            for k in range(len(row)):
                H = np.float64(row[k]) - offset
                left = H < threshold
                total[k] += H if left else 0.0
                below[k] += left
        sums[block] = 0.0
        for k in range(COLUMNS):
            sums[block] += total[k]
            count += below[k]
    return count


@njit(cache=True, nogil=True)
def _write(scores, offset, alpha, beta, p):
    for i in range(len(scores)):
        p[i] = min(beta + (1 - beta) * min((np.float64(scores[i]) - offset) / alpha, 1.0), 1.0)


@njit(cache=True, nogil=True)
def _extremes(ordered):
    lowest, highest = ordered[0], ordered[0]
    for i in range(len(ordered)):
        x = ordered[i]
        lowest = x if x < lowest else lowest
        highest = x if x > highest else highest
    return lowest, highest


def _checked_scores(scores: ArrayLike) -> tuple[NDArray[np.floating], float, float]:
    """The scores as a float array with their smallest and largest; refuses what is not a finite score >= 0."""
    G = np.asarray(scores)
    if G.dtype not in (np.float32, np.float64):
        G = G.astype(np.float64)
    if G.ndim != 1:
        raise UsageError(f"scores has shape {G.shape}; it must be (N,)")
    if len(G) == 0:
        return G, 0.0, 0.0
    G = np.ascontiguousarray(G)
    # The bits of floats >= 0, read as unsigned integers, have the floats' order; a sign, an infinity and a NaN are
    # all above the largest finite number's.
    ordered = G.view(np.uint32 if G.dtype == np.float32 else np.uint64)
    lowest, highest = _extremes(ordered)
    if highest >= np.array(np.inf, G.dtype).view(ordered.dtype):
        wrong = ~((G >= 0) & (G < np.inf))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise UsageError(f"scores[{i}]={G[i]} is not a score: every score is finite and at least 0")
        return _checked_scores(np.abs(G))  # minus zero
    smallest, largest = np.array([lowest, highest], ordered.dtype).view(G.dtype)
    return G, float(smallest), float(largest)
