"""Drawing an epoch's subset by given probabilities, and the weights that keep its mean unbiased."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.choices import check_choice
from sadp_dist.selection.order import keyed_order
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
    check_choice("scheme", scheme, SCHEMES)
    if strata is not None and scheme != "systematic":
        raise UsageError(f'strata need scheme="systematic", not scheme="{scheme}"')
    if strata is not None and np.shape(strata) != p.shape:
        raise UsageError(f"strata has shape {np.shape(strata)}; it must be that of probabilities, {p.shape}")
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UsageError(f"probabilities[{i}]={p[i]} is outside [0, 1]")

    drawn = np.zeros(len(p), dtype=np.bool_)
    if scheme == "bernoulli":
        _draw_bernoulli(p, stream_key(seed, epoch, Stream.DRAW), drawn)
    else:
        order = keyed_order(len(p), stream_key(seed, epoch, Stream.SPREAD), strata)
        start = bits(stream_key(seed, epoch, Stream.START), 0)
        _draw_systematic(p, order, start, drawn)
    return np.flatnonzero(drawn)


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
    q = p[drawn]
    if not np.all(q > 0):
        i = int(drawn[np.argmin(q)])
        raise UsageError(f"probabilities[{i}]={p[i]} has no weight: an example with p = 0 is never drawn")
    return subset_size / (len(p) * q)


@njit(cache=True, nogil=True)
def _draw_bernoulli(p, key, drawn):
    for i in range(len(p)):
        drawn[i] = (bits(key, i) >> np.uint64(11)) * 2.0**-53 < p[i]


@njit(cache=True, nogil=True)
def _draw_systematic(p, order, start_bits, drawn):
    """Mark an example where the cumulated probabilities pass start + 1, start + 2, ...

    The position between two such marks is kept in units of 2^-62, as an integer: sums in it are exact in any order,
    so no drift over millions of terms can add or lose an example.
    """
    one = 1 << 62
    total = np.int64(0)
    for i in range(len(p)):
        total = (total + np.int64(p[i] * one)) & (one - 1)
    # Where Σ p is whole but for rounding, a start inside that rounding's width would give a size one off.
    position = np.int64(start_bits >> np.uint64(2))
    rounding = np.int64(len(p)) << 12
    if total > one - rounding:
        position = max(position, one - total)
    elif total < rounding:
        position = min(position, one - 1 - total)
    for i in order:
        position += np.int64(p[i] * one)
        drawn[i] = position >= one
        position &= one - 1
