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
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import BLOCK, LocalParts, Parts, Probability

ZERO_SCORES = ("floor", "paper")
_COLUMNS = 256
_SAMPLE = 65_536  # scores, from which α is guessed

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
        expected: Σ p, rounded, of a rule that decides by the scores how many examples it keeps; else None.
    """

    alpha: float | None
    gamma: float | None
    capped: int
    rounds: int
    floor_in_force: bool = False
    expected: int | None = None

    def in_units_of(self, scale: float) -> Capping:
        """The record for the scores before they were multiplied by `scale`."""
        if scale == 1 or self.alpha is None or self.gamma is None:
            return self
        return replace(self, alpha=self.alpha / scale, gamma=self.gamma / scale)


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
    G, scale = check_scores(scores)
    N = len(G)
    if not 0 <= subset_size <= N:
        raise UsageError(f"subset_size={subset_size} is outside [0, {N}], as there are {N} scores")
    if not 0 <= min_probability <= 1:
        raise UsageError(f"min_probability={min_probability} is outside [0, 1]")
    check_choice("zero_scores", zero_scores, ZERO_SCORES)
    parts = LocalParts([Part(G)])
    probability, capping = optimal_probability(parts, float(subset_size), float(min_probability), zero_scores)
    return probability(G), capping.in_units_of(scale)


def optimal_probability(parts: Parts, S: float, beta: float, zero_scores: str) -> tuple[Probability, Capping]:
    """As `capped_probabilities`, of the scores that the parts of a data set hold."""
    N = parts.ranges[-1].stop
    if zero_scores == "paper":
        P = sum(in_ranges(parts, count_positive))
        if 0 < P < N:
            among, capping = _with_floor(parts, min(S, P), beta, P)
            return ZerosApart(among, max(S - P, 0.0) / (N - P)), capping
    return _with_floor(parts, S, beta, N)


def _with_floor(parts: Parts, S: float, beta: float, N: int) -> tuple[Probability, Capping]:
    """For N scores: all, or all but those of 0."""
    if beta * N >= S or S == N:
        return Uniform(S / max(N, 1)), Capping(None, None, 0, 0, floor_in_force=beta * N > S > 0)
    zeros = parts.ranges[-1].stop - N

    def partial_sums(threshold: float, offset: float) -> tuple[NDArray[np.float64], int]:
        sums, counts = zip(*in_ranges(parts, block_sums, threshold, offset, zeros > 0), strict=True)
        return np.concatenate(sums), sum(counts) - zeros

    sample = _sample(parts, but_zeros=zeros > 0)
    smoothing_rounds = 0
    if beta > 0:
        smallest = min(in_ranges(parts, smallest_positive if zeros else smallest_score))
        S_above = (S - beta * N) / (1 - beta)
        guess = _guess(sample, S_above / N, smallest)
        A, capped, smoothing_rounds = cap(partial_sums, S_above, N, smallest, guess)
        if A is not None and A * beta / (1 - beta) >= smallest:
            alpha, gamma = A / (1 - beta), A * beta / (1 - beta) - smallest
            return Capped(smallest, A, beta), Capping(alpha, gamma, capped, smoothing_rounds)
    A, capped, rounds = cap(partial_sums, S, N, 0.0, _guess(sample, S / N, 0.0))
    rounds += smoothing_rounds
    if A is None:
        return ZerosApart(Uniform(1.0), (S - capped) / (N - capped)), Capping(None, None, capped, rounds)
    return Capped(0.0, A, 0.0), Capping(A, 0.0, capped, rounds)


@dataclass(frozen=True)
class Capped:
    """p = β + (1 - β) min(H / A, 1), H = G - offset."""

    offset: float
    A: float
    beta: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        p = np.empty(len(scores))
        _write(scores, self.offset, self.A, self.beta, p)
        return p


@dataclass(frozen=True)
class Uniform:
    """The same p for all."""

    p: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.full(len(scores), self.p)


@dataclass(frozen=True)
class ZerosApart:
    """One p for scores of 0, another rule for the others."""

    of_positive: Probability
    of_zero: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.where(scores > 0, self.of_positive(scores), self.of_zero)


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


def _sample(parts: Parts, but_zeros: bool) -> NDArray[np.floating]:
    """Every 64th score, or fewer where these are many."""
    step = 64
    while step < BLOCK and parts.ranges[-1].stop > step * _SAMPLE:
        step *= 2
    sample = np.concatenate(in_ranges(parts, every, step))
    return sample[sample > 0] if but_zeros else sample


def _guess(sample: NDArray[np.floating], kept: float, offset: float) -> float:
    """The α of a sample, of which the share `kept` is wanted, or infinity where it is small."""
    if len(sample) < 1000:
        return math.inf
    alpha, _, _ = cap(partial(block_sums, sample), kept * len(sample), len(sample), offset)
    return alpha or math.inf


def in_ranges(parts: Parts, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """function(scores, *arguments) of ranges of whole blocks: those of all parts, ascending."""
    return [answer for of_part in parts.each("compute_in_ranges", function, *arguments) for answer in of_part]


def every(scores: NDArray[np.floating], step: int) -> NDArray[np.floating]:
    """Every `step`-th score."""
    return scores[::step]


def count_positive(scores: NDArray[np.floating]) -> int:
    """How many scores are positive."""
    return int(np.count_nonzero(scores > 0))


def smallest_positive(scores: NDArray[np.floating]) -> float:
    """The smallest positive score, infinity for none."""
    return float(np.min(scores, where=scores > 0, initial=np.inf))


def smallest_score(scores: NDArray[np.floating]) -> float:
    """The smallest score, infinity for none."""
    return float(np.min(scores, initial=np.inf))


def block_sums(
    scores: NDArray[np.floating], threshold: float, offset: float, some_below: bool = False
) -> tuple[NDArray[np.float64], int]:
    """Sums over blocks of H = G - offset, where H < threshold, and the count of such H.

    NaN is left out. With `some_below`, scores may be below the offset; those have H = 0.
    """
    sums = np.empty(-(-len(scores) // BLOCK))
    return sums, _sum_blocks(scores, threshold, offset, True if some_below else None, sums)


@njit(cache=True, nogil=True)
def _sum_blocks(
    scores: NDArray[np.floating],
    threshold: float,
    offset: float,
    some_below: bool | None,
    sums: NDArray[np.float64],
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
                if some_below is not None:  # decided when this is compiled
                    H = np.float64(0) if H < 0 else H
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


def check_scores(scores: ArrayLike, unseen: bool = False) -> tuple[NDArray[np.floating], float]:
    """Scores as floats whose sums float64 can hold, and the power of 2 that they were multiplied by for that.

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
