"""Drawing an epoch's subset by given probabilities, and the weights that keep its mean unbiased."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.choices import check_choice
from sadp_dist.selection.order import empty_row, fill_row, stratified_order
from sadp_dist.selection.random import Stream, bits, stream_key

SCHEMES = ("systematic", "bernoulli")

_UNIT = 2.0**62
_FRACTION = np.uint64(2**62 - 1)


def draw(
    probabilities: ArrayLike,
    seed: int = 0,
    epoch: int = 0,
    scheme: str = "bernoulli",
    strata: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Draw a subset in which example i is with probability p_i.

    Args:
        probabilities: (N,) in [0, 1].
        seed: of the random numbers, 0 <= seed < 2^64.
        epoch: the random numbers are those of (seed, epoch, index), whoever asks and in whatever order.
        scheme: "bernoulli": independent, so that the size varies (the paper's); "systematic": one random
            start and steps of 1 along the cumulated probabilities in a random order, so that the size is Σ p
            where that is whole, and else one of its two neighbours.
        strata: (N,) integers, for "systematic" only: the order goes stratum by stratum and is random inside
            each, so that every run of strata gets its share of the subset, rounded up or down.

    Returns:
        Indices, int64, ascending. p = 1 is always drawn, p = 0 never.

    Raises:
        UsageError: a probability outside [0, 1], an unknown scheme, or strata that do not fit.
    """
    p = np.ascontiguousarray(probabilities, dtype=np.float64)
    if p.ndim != 1:
        raise UsageError(f"probabilities has shape {p.shape}; it must be (N,)")
    if not (p.min(initial=0.0) >= 0 and p.max(initial=0.0) <= 1):
        i = int(np.argmin((p >= 0) & (p <= 1)))
        raise UsageError(f"probabilities[{i}]={p[i]} is outside [0, 1]")
    return np.flatnonzero(drawn_mask(p, seed, epoch, scheme, strata))


def drawn_mask(
    p: NDArray[np.float64], seed: int, epoch: int, scheme: str, strata: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """As `draw`, for probabilities known to be in [0, 1]: which examples are drawn, (N,) bool."""
    check_choice("scheme", scheme, SCHEMES)
    drawn = np.zeros(len(p), dtype=np.bool_)
    if scheme == "bernoulli":
        if strata is not None:
            raise UsageError('strata need scheme="systematic", not "bernoulli", which draws each by itself')
        _draw_bernoulli(p, stream_key(seed, epoch, Stream.DRAW), drawn)
        return drawn
    position = _start(p, stream_key(seed, epoch, Stream.START))
    order_key = stream_key(seed, epoch, Stream.SPREAD)
    if strata is None:
        _draw_systematic(p, order_key, empty_row(len(p)), position, drawn)
        return drawn
    strata = np.asarray(strata)
    if strata.shape != p.shape or strata.dtype.kind not in "iub":
        raise UsageError(f"strata is {strata.dtype} {strata.shape}; it must be integers of shape {p.shape}")
    _draw_along(p, stratified_order(strata, order_key), position, drawn)
    return drawn


@njit(cache=True, nogil=True)
def _draw_bernoulli(p: NDArray[np.float64], key: np.uint64, drawn: NDArray[np.bool_]) -> None:
    for i in range(len(p)):
        drawn[i] = (bits(key, i) >> np.uint64(11)) * 2.0**-53 < p[i]


@njit(cache=True, nogil=True)
def _draw_systematic(
    p: NDArray[np.float64],
    key: np.uint64,
    row: NDArray[np.unsignedinteger],
    position: np.uint64,
    drawn: NDArray[np.bool_],
) -> None:
    steps = np.empty(len(row), np.uint64)
    for left in range(len(row)):
        length = fill_row(left, len(p), key, row)
        position = _walk(p, row[:length], position, steps, drawn)


@njit(cache=True, nogil=True)
def _draw_along(
    p: NDArray[np.float64], order: NDArray[np.int64], position: np.uint64, drawn: NDArray[np.bool_]
) -> None:
    steps = np.empty(1024, np.uint64)
    for begin in range(0, len(order), len(steps)):
        position = _walk(p, order[begin : begin + len(steps)], position, steps, drawn)


@njit(cache=True, nogil=True)
def _walk(
    p: NDArray[np.float64],
    order: NDArray[np.integer],
    position: np.uint64,
    steps: NDArray[np.uint64],
    drawn: NDArray[np.bool_],
) -> np.uint64:
    """Go on cumulating probabilities from `position`; an example that takes the sum past 1 is drawn.

    The sum is kept modulo 1, as an integer in units of 2^-62: such sums are exact in any order, so that no
    drift over millions of terms can add or lose an example. Reading, adding up and marking are loops of their
    own, so that the reads, which are all over memory, wait for nothing.
    """
    for j in range(len(order)):
        steps[j] = np.uint64(p[order[j]] * _UNIT)
    for j in range(len(order)):
        position += steps[j]
        steps[j] = position >> np.uint64(62)
        position &= _FRACTION
    for j in range(len(order)):
        drawn[order[j]] = steps[j]
    return position


@njit(cache=True, nogil=True)
def _start(p: NDArray[np.float64], random_bits: np.uint64) -> np.uint64:
    """The random start, in [0, 1).

    Where Σ p is whole but for rounding, a start within that rounding of 0 or 1 would give a size one off; it
    is moved to the end of that sliver, of about N 2^-50.
    """
    total = np.uint64(0)
    for q in p:
        total += np.uint64(q * _UNIT)
    total &= _FRACTION
    start = random_bits & _FRACTION
    rounding = np.uint64(len(p)) << np.uint64(12)
    if total > _FRACTION - rounding:
        return max(start, _FRACTION - total + np.uint64(1))
    if total < rounding:
        return min(start, _FRACTION - total)
    return start


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
    weights = np.empty(len(drawn))
    if not _weigh(p, drawn, subset_size / max(len(p), 1), weights):
        i = int(drawn[np.argmin(p[drawn])])
        raise UsageError(f"probabilities[{i}]={p[i]} gives no weight: such an example is never drawn")
    return weights


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(
    p: NDArray[np.float64], drawn: NDArray[np.int64], kept: float, weights: NDArray[np.float64]
) -> bool:
    possible = True
    for j in range(len(drawn)):
        q = p[drawn[j]]
        possible &= q > 0
        weights[j] = kept / q
    return possible
