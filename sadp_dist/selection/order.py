"""Random orders of 0..n-1 in O(n), without a sort: a keyed permutation.

The permutation is a Feistel network of four rounds on pairs (left, right) of numbers below `width`: a round
adds to one half a keyed random number of the other half. Four such rounds make a pseudorandom permutation
(Luby and Rackoff, 1988). It is walked a row (one left half) at a time, so that no order of the whole dataset
has to lie in memory.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.random import bits

_MIN_WIDTH = 128  # narrower ones would order few examples visibly unevenly


def empty_row(n: int) -> NDArray[np.unsignedinteger]:
    """Room for a row of the permutations of 0..n-1: (width,), uint32 where the numbers fit, else uint64."""
    width = max(_MIN_WIDTH, math.isqrt(max(n - 1, 0)) + 1)
    return np.empty(width, dtype=np.uint32 if width**2 < 2**32 else np.uint64)


@njit(cache=True, nogil=True)
def first_round(key: np.uint64, row: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """What the first round adds, for every right half: the same in all rows."""
    added = np.empty_like(row)
    for right in range(len(row)):
        added[right] = _below(np.uint64(len(row)), bits(key, right))
    return added


@njit(cache=True, nogil=True)
def fill_row(
    left: int,
    n: int,
    key: np.uint64,
    first: NDArray[np.unsignedinteger],
    row: NDArray[np.unsignedinteger],
) -> int:
    """Write row `left`, 0 <= left < width, of the permutation to the front of `row`; returns its length."""
    width = np.uint64(len(row))
    for right in range(len(row)):
        L, R = np.uint64(left), np.uint64(right)
        L = _add(L, np.uint64(first[right]), width)
        R = _add(R, _below(width, bits(key, L + width)), width)
        L = _add(L, _below(width, bits(key, R + np.uint64(2) * width)), width)
        R = _add(R, _below(width, bits(key, L + np.uint64(3) * width)), width)
        row[right] = L * width + R
    if len(row) ** 2 == n:
        return len(row)
    length = 0
    for right in range(len(row)):  # width² is a little more than n: close the gaps, without a branch
        x = row[right]
        row[length] = x
        length += x < np.uint64(n)
    return length


@njit(cache=True, nogil=True, inline="always")
def _below(width: np.uint64, random_bits: np.uint64) -> np.uint64:
    """A number in 0..width-1."""
    return ((random_bits >> np.uint64(32)) * width) >> np.uint64(32)


@njit(cache=True, nogil=True, inline="always")
def _add(x: np.uint64, y: np.uint64, width: np.uint64) -> np.uint64:
    """x + y modulo width; unsigned, so that the difference is huge where it would be negative."""
    return min(x + y, x + y - width)


def shuffled(
    drawn: NDArray[np.uint8], n: int, key: np.uint64, part: range
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The drawn examples of a range, in the permutation's order of all that are drawn.

    Whether an example is drawn moves none of the others.

    Args:
        drawn: (ceil(n / 8),) which of 0..n-1 are drawn: example i is bit i % 8, from the lowest up, of byte
            i // 8.
        n: examples in all.
        key: of the random numbers, from `random.stream_key`.
        part: the range whose examples are wanted; it begins at a multiple of 8.

    Returns:
        Their indices, and their positions among all that are drawn, both (drawn in the range,) int64 and in
        ascending position. None for positions that are 0, 1, 2, ..., where the range is all of 0..n-1.
    """
    of_part = np.unpackbits(drawn[part.start // 8 :], count=len(part), bitorder="little")
    room = np.count_nonzero(of_part) + 1
    indices = np.empty(room, np.int64)
    if len(part) == n:
        _shuffle(drawn, n, key, empty_row(n), indices)
        return indices[:-1], None
    positions = np.empty(room, np.int64)
    _shuffle_part(drawn, n, key, empty_row(n), part.start, part.stop, indices, positions)
    return indices[:-1], positions[:-1]


@njit(cache=True, nogil=True)
def _shuffle(
    drawn: NDArray[np.uint8],
    n: int,
    key: np.uint64,
    row: NDArray[np.unsignedinteger],
    indices: NDArray[np.int64],
) -> None:
    count, first = 0, first_round(key, row)
    for left in range(len(row)):
        length = fill_row(left, n, key, first, row)
        for i in row[:length]:  # write each one, step on where it is drawn: no branch to mispredict
            indices[count] = i
            count += _bit(drawn, i)


@njit(cache=True, nogil=True)
def _shuffle_part(
    drawn: NDArray[np.uint8],
    n: int,
    key: np.uint64,
    row: NDArray[np.unsignedinteger],
    begin: int,
    end: int,
    indices: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> None:
    count, position, first = 0, 0, first_round(key, row)
    for left in range(len(row)):
        length = fill_row(left, n, key, first, row)
        for i in row[:length]:
            indices[count] = i
            positions[count] = position
            is_drawn = _bit(drawn, i)
            position += is_drawn
            count += is_drawn & (begin <= i) & (i < end)


@njit(cache=True, nogil=True, inline="always")
def _bit(drawn: NDArray[np.uint8], i: int) -> int:
    return (drawn[i >> 3] >> (i & 7)) & 1  # type: ignore[no-any-return]
