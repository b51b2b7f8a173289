"""Draws an epoch's subset with given probabilities: each example by itself, or systematically.

A systematic draw goes along the cumulated probabilities in steps of 1, block by block of the data set. The
walk goes through the blocks in ascending order, and through each in a random order of its own; with strata it
does so for one stratum after the other. Sums are kept modulo 1, as integers in units of 2^-62: such sums are
exact in any order, so that no drift over millions of terms can add or lose an example, and each thread can
walk its own stretch once the sums of those before it are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.passes import BLOCK, in_threads, stretches
from sadp_dist.selection.random import Stream, bits, empty_row, fill_row, first_round, stream_key

SCHEMES = ("systematic", "bernoulli")
_SCORE_BINS = 32  # of the probability, inside a class
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
            _add_steps(p[part], sums)
        else:
            for block in _blocks(part):
                _add_steps_by_stratum(p[block], stratum_of(block), sums)
        return sums

    def walk_part(begin: tuple[slice, NDArray[np.uint64]]) -> None:
        part, at = begin
        row, drawn, copied = empty_row(BLOCK), np.empty(BLOCK, np.bool_), np.empty(BLOCK)
        for block in _blocks(part):
            number = block.start // BLOCK
            of_block = copied[: block.stop - block.start]
            of_block[:] = p[block]  # read once in order: the walk goes to and fro
            if stratum_of is None:
                _walk(of_block, key, number, row, at, drawn)
            else:
                _walk_strata(of_block, stratum_of(block), key, number, row, at, drawn)
            _pack(drawn, block, packed)

    sums = in_threads(sums_of, parts)
    total = np.add.reduce(sums, axis=0, dtype=np.uint64)
    start = _start_positions(total, len(p), int(stream_key(seed, epoch, Stream.START)))
    in_threads(walk_part, list(zip(parts, _positions_after(start, sums), strict=True)))
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


@njit(cache=True, nogil=True)
def _add_steps(p: NDArray[np.float64], sums: NDArray[np.uint64]) -> None:
    """Add probabilities to sums[0]."""
    total = np.uint64(0)
    for q in p:
        total += np.uint64(q * _UNIT)
    sums[0] += total


@njit(cache=True, nogil=True)
def _add_steps_by_stratum(
    p: NDArray[np.float64], stratum: NDArray[np.int64], sums: NDArray[np.uint64]
) -> None:
    """Add probabilities to the sums of their strata."""
    for i in range(len(p)):
        sums[stratum[i]] += np.uint64(p[i] * _UNIT)


@njit(cache=True, nogil=True)
def _walk(
    p: NDArray[np.float64],
    key: np.uint64,
    block: int,
    row: NDArray[np.uint32],
    positions: NDArray[np.uint64],
    drawn: NDArray[np.bool_],
) -> None:
    """Go on from positions[0] through a block; an example that takes the sum past 1 is drawn.

    Reading, adding up and marking are loops of their own, so that the reads wait for nothing.
    """
    steps = np.empty(len(row), np.uint64)
    position, block_key = positions[0], bits(key, block)
    first = first_round(block_key, row)
    for left in range(len(row)):
        length = fill_row(left, len(p), block_key, first, row)
        for j in range(length):
            steps[j] = np.uint64(p[row[j]] * _UNIT)
        for j in range(length):
            position += steps[j]
            steps[j] = position >> np.uint64(62)
            position &= _FRACTION
        for j in range(length):
            drawn[row[j]] = steps[j]
    positions[0] = position


@njit(cache=True, nogil=True)
def _walk_strata(
    p: NDArray[np.float64],
    stratum: NDArray[np.int64],
    key: np.uint64,
    block: int,
    row: NDArray[np.uint32],
    positions: NDArray[np.uint64],
    drawn: NDArray[np.bool_],
) -> None:
    """As `_walk`, in every stratum from its own position."""
    block_key = bits(key, block)
    first = first_round(block_key, row)
    for left in range(len(row)):
        length = fill_row(left, len(p), block_key, first, row)
        for i in row[:length]:
            position = positions[stratum[i]] + np.uint64(p[i] * _UNIT)
            drawn[i] = position >> np.uint64(62)
            positions[stratum[i]] = position & _FRACTION


def _start_positions(sums: NDArray[np.uint64], dataset_size: int, random_bits: int) -> NDArray[np.uint64]:
    """Return where the walk through each stratum begins, (K,).

    Args:
        sums: (K,) of the probabilities in each stratum, in the order of the walk.
        dataset_size: N.
        random_bits: 64 of them, for the one random start.
    """
    ends = np.cumsum(sums, dtype=np.uint64)
    total = int(ends[-1] & _FRACTION) if len(ends) else 0
    return (ends - sums + np.uint64(_start(total, dataset_size, random_bits))) & _FRACTION


def _positions_after(
    positions: NDArray[np.uint64], sums: Sequence[NDArray[np.uint64]]
) -> list[NDArray[np.uint64]]:
    """Return where the walk through each of several stretches begins, in each stratum.

    Args:
        positions: where that through the first one does.
        sums: of the probabilities in each stretch.
    """
    begins = [positions]
    for of_stretch in sums[:-1]:
        begins.append((begins[-1] + of_stretch) & _FRACTION)
    return [begin.copy() for begin in begins]  # a walk moves them along


def _start(total: int, dataset_size: int, random_bits: int) -> int:
    """The random start, in [0, 1).

    Where Σ p is whole but for rounding, a start within that rounding of 0 or 1 would give a size one off; it
    is moved to the end of that sliver, of about N 2^-50.

    Args:
        total: Σ p modulo 1.
        dataset_size: N.
        random_bits: 64 of them.
    """
    one = 2**62
    start, rounding = random_bits % one, dataset_size << 12
    if total >= one - rounding:
        return max(start, one - total)
    if total < rounding:
        return min(start, one - 1 - total)
    return start
