"""Draws an epoch's subset with given probabilities; weights keep its mean unbiased."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.order import empty_row
from sadp_dist.selection.random import Stream, bits, stream_key
from sadp_dist.selection.systematic import (
    add_steps,
    add_steps_by_stratum,
    positions_after,
    start_positions,
    walk,
    walk_strata,
)
from sadp_dist.selection.threads import BLOCK, in_threads, stretches

SCHEMES = ("systematic", "bernoulli")
_SCORE_BINS = 32  # of the probability, inside a class


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
    drawn = draw_packed(p, seed, epoch, scheme, "none" if labels is None else "class", labels)
    return np.flatnonzero(np.unpackbits(drawn, count=len(p), bitorder="little"))


def draw_packed(
    p: NDArray[np.float64],
    seed: int,
    epoch: int,
    scheme: str,
    stratify: str = "none",
    labels: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    """As `draw`, returning packed bits: example i is bit i % 8, from the lowest up, of byte i // 8.

    Args:
        p: (N,) in [0, 1].
        seed: of the random numbers.
        epoch: likewise.
        scheme: "systematic" or "bernoulli".
        stratify: "none", "class" or "class-score": what "systematic" spreads the subset over. Strata that
            follow each other are alike: of one class, and of probabilities that are near.
        labels: (N,) the class of each example, for strata.
    """
    packed = np.empty(-(-len(p) // 8), np.uint8)
    parts = stretches(len(p))
    if scheme == "bernoulli":
        key = stream_key(seed, epoch, Stream.DRAW)

        def draw_each(part: slice) -> None:
            drawn = np.empty(BLOCK, np.bool_)
            for block in _blocks(part):
                _draw_bernoulli(p[block], block.start, key, drawn)
                _pack(drawn, block, packed)

        in_threads(draw_each, parts)
        return packed

    key = stream_key(seed, epoch, Stream.SPREAD)
    if stratify == "none":
        stratum_of, strata = None, 1
    else:
        assert labels is not None, "a draw by class where there are no labels"
        place, classes = _classes(labels)
        bins = _SCORE_BINS if stratify == "class-score" else 1
        strata = classes * bins

        def stratum_of(some: slice) -> NDArray[np.int64]:
            of_class = place[some].astype(np.int64)
            return of_class if bins == 1 else _by_score(of_class, p[some])

    def sums_of(part: slice) -> NDArray[np.uint64]:
        sums = np.zeros(strata, np.uint64)
        if stratum_of is None:
            add_steps(p[part], sums)
        else:
            for block in _blocks(part):
                add_steps_by_stratum(p[block], stratum_of(block), sums)
        return sums

    def walk_part(begin: tuple[slice, NDArray[np.uint64]]) -> None:
        part, at = begin
        row, drawn = empty_row(BLOCK), np.empty(BLOCK, np.bool_)
        for block in _blocks(part):
            number = block.start // BLOCK
            if stratum_of is None:
                walk(p[block], key, number, row, at, drawn)
            else:
                walk_strata(p[block], stratum_of(block), key, number, row, at, drawn)
            _pack(drawn, block, packed)

    sums = in_threads(sums_of, parts)
    total = np.add.reduce(sums, axis=0, dtype=np.uint64)
    start = start_positions(total, len(p), int(stream_key(seed, epoch, Stream.START)))
    in_threads(walk_part, list(zip(parts, positions_after(start, sums), strict=True)))
    return packed


def _blocks(part: slice) -> Iterator[slice]:
    for begin in range(part.start, part.stop, BLOCK):
        yield slice(begin, min(begin + BLOCK, part.stop))


def _pack(drawn: NDArray[np.bool_], block: slice, packed: NDArray[np.uint8]) -> None:
    """Write a block's bits to those of all examples."""
    of_block = np.packbits(drawn[: block.stop - block.start], bitorder="little")
    packed[block.start // 8 : block.start // 8 + len(of_block)] = of_block


def _classes(labels: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
    """Return the place of each example's class among the classes, ascending, and their number."""
    if len(labels) == 0:
        return labels, 1
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest == 0 and highest < 4 * len(labels):
        return labels, highest + 1
    found, place = np.unique(labels, return_inverse=True)
    return place, len(found)


def _by_score(place: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.int64]:
    return place * _SCORE_BINS + np.minimum(p * _SCORE_BINS, _SCORE_BINS - 1).astype(np.int64)


@njit(cache=True, nogil=True)
def _draw_bernoulli(p: NDArray[np.float64], first: int, key: np.uint64, drawn: NDArray[np.bool_]) -> None:
    for i in range(len(p)):
        drawn[i] = (bits(key, first + i) >> np.uint64(11)) * 2.0**-53 < p[i]


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
    for begin in range(0, len(drawn), BLOCK):  # few at a time, which stay in the cache
        end = min(begin + BLOCK, len(drawn))
        for j in range(begin, end):  # a loop of its own, whose reads wait for nothing
            weights[j] = p[drawn[j]]
        for j in range(begin, end):
            weights[j] = scale / weights[j]
