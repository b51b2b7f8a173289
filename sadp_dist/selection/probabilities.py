"""Variance-optimal selection probabilities with a floor, without a sort (Eqs. 28, 40, 41).

Every example gets p = min((G + γ) / α, 1) with Σ p = S. Written with H = G - min(G) and the floor β,

    p = β + (1 - β) min(H / A, 1),    Σ min(H / A, 1) = (S - β N) / (1 - β),

where α = A / (1 - β) and γ = α β - min(G). So capping and smoothing settle together, as one capping problem
whose capped set is found anew.

A round of it is one pass over the scores that gives sums, in blocks, and counts. Sums over blocks are added
exactly, so that shards of a score table that begin at a multiple of `BLOCK` give the whole table's bits.
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
_COLUMNS = 256

PartialSums = Callable[[float, float], tuple[NDArray[np.float64], int]]
"""(threshold, offset) -> sums over blocks of H = G - offset, where H < threshold, and the count of such H."""


@dataclass(frozen=True)
class Capping:
    """How probabilities came about.

    Attributes:
        alpha: α of p = min((G + γ) / α, 1), in the unit of the scores; None where p is not of that form: all
            are S / N, or the scores of 0 share what the others leave.
        gamma: γ >= 0, in the unit of the scores; None where `alpha` is.
        capped: number of examples with p = 1 because of their score.
        rounds: passes over the scores that it took.
        floor_in_force: the floor is above S / N, which makes every p = S / N.
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

    p = min((G + γ) / α, 1) with Σ p = S and the one γ >= 0 for which the smallest p is min(β, S / N); γ = 0
    where it is that large already. If fewer than S scores are positive, those get 1 and the zeros share the
    rest evenly.

    Args:
        scores: (N,) G, finite and >= 0; float32 and float64 are read as they are, without a copy.
        subset_size: S = Σ p, 0 <= S <= N; may be fractional.
        min_probability: the floor β, in [0, 1]. Above S / N it makes every p = S / N.
        zero_scores: "floor": a score of 0 is one like any other; "paper": it gets p = 0, and the floor is
            one for the others.

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
    G, smallest, largest = _check_scores(scores)
    N, S, beta = len(G), float(subset_size), float(min_probability)
    if not 0 <= S <= N:
        raise UsageError(f"subset_size={subset_size} is outside [0, {N}], as there are {N} scores")
    if not 0 <= beta <= 1:
        raise UsageError(f"min_probability={min_probability} is outside [0, 1]")
    check_choice("zero_scores", zero_scores, ZERO_SCORES)

    if zero_scores == "paper" and smallest == 0 < largest:
        positive = G > 0
        P = int(np.count_nonzero(positive))
        p = np.full(N, max(S - P, 0.0) / (N - P))
        p[positive], capping = capped_probabilities(G[positive], min(S, P), beta)
        return p, capping
    if beta * N >= S or S == N:
        return np.full(N, S / max(N, 1)), Capping(None, None, 0, 0, floor_in_force=beta * N > S > 0)

    # Sums of float64 scores beyond any float32 could leave the range of float64.
    scale = 2.0 ** -math.frexp(largest)[1] if largest > 2.0**512 or 0 < largest < 2.0**-512 else 1.0
    if scale != 1:
        G, smallest = G * scale, smallest * scale
    partial_sums = partial_sums_of(G)
    p = np.empty(N)
    smoothing_rounds = 0
    if beta > 0:
        S_above = (S - beta * N) / (1 - beta)
        A, capped, smoothing_rounds = cap(partial_sums, S_above, N, smallest, _guess(G, S_above, smallest))
        if A is not None and A * beta / (1 - beta) >= smallest:
            _write(G, smallest, A, beta, p)
            alpha, gamma = A / (1 - beta), A * beta / (1 - beta) - smallest
            return p, Capping(alpha / scale, gamma / scale, capped, smoothing_rounds)
    A, capped, rounds = cap(partial_sums, S, N, 0.0, _guess(G, S, 0.0))
    rounds += smoothing_rounds
    if A is None:
        p[:] = np.where(G > 0, 1.0, (S - capped) / (N - capped))
        return p, Capping(None, None, capped, rounds)
    _write(G, 0.0, A, 0.0, p)
    return p, Capping(A / scale, 0.0, capped, rounds)


def cap(
    partial_sums: PartialSums, S: float, N: int, offset: float, start: float = math.inf
) -> tuple[float | None, int, int]:
    """Solve Σ min(H / α, 1) = S for H = G - offset >= 0 by the iteration of Eq. 28.

    A round turns the sum over the examples that are not capped, R = {H < α}, into the next
    α = Σ_R H / (S - N + |R|). Whatever α it begins with, that is not below the solution; from then on α only
    falls and R only shrinks, and it is done when R stays.

    Args:
        partial_sums: one pass over all scores; of several shards, their block sums and counts together.
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
        sums, below = partial_sums(alpha, offset)
        rounds += 1
        if below == left:
            return alpha, N - below, rounds
        mass, total = S - (N - below), math.fsum(sums)
        if left < 0 and alpha < math.inf and (mass <= 0 or total == 0):
            alpha = math.inf  # the guess was so low that it tells nothing
            continue
        if mass <= 0:  # S are capped; what is left is nothing beside them
            return alpha, N - below, rounds
        if total == 0:
            return None, N - below, rounds
        alpha, left = total / mass if left < 0 else min(alpha, total / mass), below


def _guess(scores: NDArray[np.floating], S: float, offset: float) -> float:
    """The α of every 64th score, or infinity where these are few."""
    sample = np.ascontiguousarray(scores[::64])
    if len(sample) < 1000:
        return math.inf
    alpha, _, _ = cap(partial_sums_of(sample), S * len(sample) / len(scores), len(sample), offset)
    return alpha or math.inf


def partial_sums_of(scores: NDArray[np.floating]) -> PartialSums:
    """The pass over one array of scores, as `cap` asks for it."""
    sums = np.empty(-(-len(scores) // BLOCK))

    def partial_sums(threshold: float, offset: float) -> tuple[NDArray[np.float64], int]:
        return sums, _sum_blocks(scores, threshold, offset, sums)

    return partial_sums


@njit(cache=True, nogil=True)
def _sum_blocks(
    scores: NDArray[np.floating], threshold: float, offset: float, sums: NDArray[np.float64]
) -> int:
    """One fused pass. A block is added up in columns, side by side: fast, and in the same order anywhere."""
    total, below = np.empty(_COLUMNS), np.empty(_COLUMNS, np.int64)
    count = 0
    for block in range(len(sums)):
        total[:] = 0.0
        below[:] = 0
        end = min((block + 1) * BLOCK, len(scores))
        for begin in range(block * BLOCK, end, _COLUMNS):
            row = scores[begin : min(begin + _COLUMNS, end)]
            for k in range(len(row)):
                H = np.float64(row[k]) - offset
                is_below = H < threshold  # noqa: SIM300
                total[k] += H if is_below else 0.0
                below[k] += is_below
        sums[block] = 0.0
        for k in range(_COLUMNS):
            sums[block] += total[k]
            count += below[k]
    return count


@njit(cache=True, nogil=True)
def _write(
    scores: NDArray[np.floating], offset: float, A: float, beta: float, p: NDArray[np.float64]
) -> None:
    per_H = (1 - beta) / A  # a division for each example would take as long as all the rest
    for i in range(len(scores)):
        H = np.float64(scores[i]) - offset
        p[i] = min(beta + H * per_H, 1.0) if H < A else 1.0


def _check_scores(scores: ArrayLike) -> tuple[NDArray[np.floating], float, float]:
    """The scores as an array of floats, with the smallest and the largest; refuses what is no score."""
    G = np.asarray(scores)
    if G.ndim != 1:
        raise UsageError(f"scores has shape {G.shape}; it must be (N,)")
    G = np.ascontiguousarray(G, dtype=G.dtype if G.dtype in (np.float32, np.float64) else np.float64)
    if len(G) == 0:
        return G, 0.0, 0.0
    # Read as unsigned integers, floats >= 0 keep their order, and a NaN, an infinity and any negative number
    # are above them all: one pass of integer comparisons checks them.
    unsigned: NDArray[np.unsignedinteger] = G.view(np.uint32 if G.dtype == np.float32 else np.uint64)
    lowest, highest = _extremes(unsigned)
    if highest >= np.array(np.inf, G.dtype).view(unsigned.dtype):
        refuse_scores(G, ~np.isfinite(G) | (G < 0))
        return _check_scores(np.abs(G))  # there was a minus zero
    smallest, largest = np.array([lowest, highest], unsigned.dtype).view(G.dtype)
    return G, float(smallest), float(largest)


def refuse_scores(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> None:
    """Raise the UsageError that names the first score that is wrong, if any is."""
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UsageError(f"scores[{i}]={scores[i]} is not a score: scores are finite and at least 0")


@njit(cache=True, nogil=True)
def _extremes(numbers: NDArray[np.unsignedinteger]) -> tuple[int, int]:
    lowest, highest = numbers[0], numbers[0]
    for i in range(len(numbers)):
        lowest = numbers[i] if numbers[i] < lowest else lowest
        highest = numbers[i] if numbers[i] > highest else highest
    return lowest, highest
