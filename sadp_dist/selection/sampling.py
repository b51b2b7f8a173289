"""Drawing an epoch's subset by given probabilities, and the weights that keep its mean unbiased."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import AnyProbability, LocalParts, Parts
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.systematic import start_positions

SCHEMES = ("systematic", "bernoulli")


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
            start and steps of 1 along the cumulated probabilities, block by block and in random order inside
            each, so that the size is Σ p where that is whole, and else one of its two neighbours.
        strata: (N,) integers, for "systematic" only: the order goes stratum by stratum, so that every run of
            strata gets its share of the subset, rounded up or down.

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
    check_choice("scheme", scheme, SCHEMES)
    labels = None if strata is None else np.asarray(strata)
    if labels is not None:
        if scheme == "bernoulli":
            raise UsageError('strata need scheme="systematic", not "bernoulli", which draws each by itself')
        if labels.shape != p.shape or labels.dtype.kind not in "iub":
            raise UsageError(
                f"strata is {labels.dtype} {labels.shape}; it must be integers of shape {p.shape}"
            )
        labels = labels.astype(np.int64)
    parts = LocalParts([Part(p, labels=labels)])
    drawn = draw_parts(parts, np.asarray, seed, epoch, scheme, "none" if labels is None else "class")
    return np.flatnonzero(np.unpackbits(drawn, count=len(p), bitorder="little"))


def draw_parts(
    parts: Parts, probability: AnyProbability, seed: int, epoch: int, scheme: str, stratify: str
) -> NDArray[np.uint8]:
    """As `draw`, from the parts of a data set; which are drawn, as packed bits (see `order.shuffled`)."""
    if scheme == "bernoulli":
        bits_of_parts = parts.each("draw_independently", probability, stream_key(seed, epoch, Stream.DRAW))
    else:
        starts = start_positions(
            parts.each("step_sums", probability, stratify),
            parts.ranges[-1].stop,
            int(stream_key(seed, epoch, Stream.START)),
        )
        key = stream_key(seed, epoch, Stream.SPREAD)
        bits_of_parts = parts.each_its(
            "draw_systematically", [(probability, stratify, key, start) for start in starts]
        )
    return np.concatenate(bits_of_parts)


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
