"""Drawing an epoch's subset by given probabilities, and the weights that keep its mean unbiased."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.choices import check_choice
from sadp_dist.selection.order import random_order
from sadp_dist.selection.random import Stream, bits, stream_key

SCHEMES = ("systematic", "bernoulli")


def draw(
    probabilities: ArrayLike, seed: int = 0, epoch: int = 0, scheme: str = "bernoulli", strata: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Draw a subset in which example i is with probability p_i, exactly.

    Args:
        probabilities: (N,) in [0, 1].
        seed, epoch: key of the random numbers; an example's own depends on (seed, epoch, index) alone.
        scheme: "bernoulli": independent, so that the size varies (the paper's); "systematic": one random start and
            steps of 1 along the cumulated probabilities, in a random order, so that the size is Σ p where that is
            whole and else one of its two neighbours.
        strata: (N,) integers, for "systematic" only: the order goes stratum by stratum, random inside each, so that
            each stratum gets its share of the subset, rounded up or down.

    Returns:
        Indices, int64, ascending. p = 1 is always drawn, p = 0 never.

    Raises:
        UsageError: a probability outside [0, 1], an unknown scheme, strata of another length or with "bernoulli".
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
    """As `draw`, for probabilities known to be in [0, 1]; which examples are drawn, as (N,) bool."""
    check_choice("scheme", scheme, SCHEMES)
    if strata is not None:
        if scheme != "systematic":
            raise UsageError(f'strata need scheme="systematic", not "{scheme}"')
        strata = np.asarray(strata)
        if strata.shape != p.shape or strata.dtype.kind not in "iub":
            raise UsageError(
                f"strata is {strata.dtype} of shape {strata.shape}; it must be integers of shape {p.shape}"
            )
    drawn = np.zeros(len(p), dtype=np.bool_)
    if scheme == "bernoulli":
        _draw_bernoulli(p, stream_key(seed, epoch, Stream.DRAW), drawn)
    else:
        order = random_order(len(p), stream_key(seed, epoch, Stream.SPREAD), strata)
        _draw_systematic(p, order, stream_key(seed, epoch, Stream.START), drawn)
    return drawn


def importance_weights(
    probabilities: ArrayLike, indices: ArrayLike, subset_size: float
) -> NDArray[np.float64]:
    """w_i = S / (N p_i) of the drawn examples (Eq. 11): Σ w x / S over them estimates the mean of x over all N.

    Args:
        probabilities: (N,) by which they were drawn.
        indices: (n,) integers, the drawn examples.
        subset_size: S.

    Returns:
        (n,) float64.

    Raises:
        UsageError: an example whose probability is 0, which cannot have been drawn.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    drawn = np.asarray(indices, dtype=np.int64)
    if len(drawn) and not (drawn.min() >= 0 and drawn.max() < len(p)):
        raise UsageError(f"indices reach from {drawn.min()} to {drawn.max()}, outside [0, {len(p) - 1}]")
    weights = np.empty(len(drawn))
    if not _weigh(p, drawn, subset_size / max(len(p), 1), weights):
        i = int(drawn[np.argmin(p[drawn])])
        raise UsageError(f"probabilities[{i}]=0 has no weight: such an example is never drawn")
    return weights


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(p, drawn, kept, weights):
    possible = True
    for j in range(len(drawn)):
        q = p[drawn[j]]
        possible &= q > 0
        weights[j] = kept / q
    return possible


@njit(cache=True, nogil=True)
def _draw_bernoulli(p, key, drawn):
    for i in range(len(p)):
        drawn[i] = (bits(key, i) >> np.uint64(11)) * 2.0**-53 < p[i]


@njit(cache=True, nogil=True)
def _draw_systematic(p, order, start, drawn):
    """Draw the example at which the cumulated probabilities, begun at a random start in [0, 1), reach 1, 2, 3, ...

    They are kept modulo 1, as integers in units of 2^-62: sums of those are exact in any order, so that no drift over
    millions of terms can add or lose an example.
    """
    unit = 2.0**62
    fraction = np.uint64((1 << 62) - 1)
    total = np.uint64(0)
    for q in p:
        total += np.uint64(q * unit)
    total &= fraction
    # Where the sum is whole but for rounding, a start within that rounding of 0 or 1 would make the size one off.
    position = start & fraction
    rounding = np.uint64(len(p)) << np.uint64(12)
    if total > fraction - rounding:
        position = max(position, fraction - total + np.uint64(1))
    elif total < rounding:
        position = min(position, fraction - total)
    for i in order:
        position += np.uint64(p[i] * unit)
        drawn[i] = position >> np.uint64(62)
        position &= fraction
