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
from numpy.typing import ArrayLike, NDArray

from sadp_dist.selection.random import bits

_MIN_WIDTH = 128  # narrower ones would order few examples visibly unevenly


def empty_row(n: int) -> NDArray[np.unsignedinteger]:
    """Room for a row of the permutations of 0..n-1: (width,), uint32 where the numbers fit, else uint64."""
    width = max(_MIN_WIDTH, math.isqrt(max(n - 1, 0)) + 1)
    return np.empty(width, dtype=np.uint32 if width**2 < 2**32 else np.uint64)


@njit(cache=True, nogil=True)
def fill_row(left: int, n: int, key: np.uint64, row: NDArray[np.unsignedinteger]) -> int:
    """Write row `left`, 0 <= left < width, of the permutation to the front of `row`; returns its length."""
    width = np.uint64(len(row))
    for right in range(len(row)):
        L, R = np.uint64(left), np.uint64(right)
        L = _add(L, _below(width, bits(key, R)), width)
        R = _add(R, _below(width, bits(key, L + width)), width)
        L = _add(L, _below(width, bits(key, R + np.uint64(2) * width)), width)
        R = _add(R, _below(width, bits(key, L + np.uint64(3) * width)), width)
        row[right] = L * width + R
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


def shuffled(chosen: NDArray[np.bool_], key: np.uint64) -> NDArray[np.int64]:
    """The indices i with chosen[i], in the permutation's order of all indices.

    Whether an example is chosen moves none of the others.
    """
    count = np.count_nonzero(chosen)
    indices = np.empty(count + 1, dtype=np.int64)
    _shuffle(chosen, key, empty_row(len(chosen)), indices)
    return indices[:count]


@njit(cache=True, nogil=True)
def _shuffle(
    chosen: NDArray[np.bool_], key: np.uint64, row: NDArray[np.unsignedinteger], indices: NDArray[np.int64]
) -> None:
    count = 0
    for left in range(len(row)):
        length = fill_row(left, len(chosen), key, row)
        for i in row[:length]:  # write each one, step on where it is chosen: no branch to mispredict
            indices[count] = i
            count += chosen[i]


def stratified_order(strata: ArrayLike, key: np.uint64) -> NDArray[np.int64]:
    """The indices stratum by stratum, ascending, and inside each in the permutation's order.

    Args:
        strata: (n,) integers.
        key: of the random numbers, from `random.stream_key`.

    Returns:
        (n,) int64.
    """
    stratum = np.asarray(strata, dtype=np.int64)
    lowest, highest = int(stratum.min(initial=0)), int(stratum.max(initial=0))
    if highest - lowest > 4 * len(stratum):  # too thinly spread to count
        stratum = np.unique(stratum, return_inverse=True)[1]
        lowest, highest = 0, len(stratum)
    order = np.empty(len(stratum), dtype=np.int64)
    start = np.zeros(highest - lowest + 2, dtype=np.int64)
    _order_by_stratum(stratum, lowest, key, empty_row(len(stratum)), start, order)
    return order


@njit(cache=True, nogil=True)
def _order_by_stratum(
    stratum: NDArray[np.int64],
    lowest: int,
    key: np.uint64,
    row: NDArray[np.unsignedinteger],
    start: NDArray[np.int64],
    order: NDArray[np.int64],
) -> None:
    """A counting sort, which is stable: the order inside a stratum stays the permutation's."""
    for s in stratum:
        start[s - lowest + 1] += 1
    for s in range(1, len(start)):
        start[s] += start[s - 1]
    for left in range(len(row)):
        length = fill_row(left, len(stratum), key, row)
        for i in row[:length]:
            s = stratum[i] - lowest
            order[start[s]] = i
            start[s] += 1
