"""Random orders of 0..n-1 in O(n), without a sort: a keyed permutation.

The permutation is a Feistel network of four rounds on pairs (left, right) of numbers below `width`: a
round adds to one half what a table of keyed random numbers holds for the other half. Four such rounds make
a pseudorandom permutation (Luby and Rackoff, 1988). It is walked a row (one left half) at a time, so that
no order of the whole dataset has to lie in memory.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.selection.random import bits

_ROUNDS = 4
_MIN_WIDTH = 128  # narrower ones would order few examples visibly unevenly


def keyed_permutation(n: int, key: np.uint64) -> NDArray[np.unsignedinteger]:
    """The tables of a random permutation of 0..n-1 that depends on (n, key) alone; see `fill_row`.

    Returns:
        (4, width) uint32, or uint64 where n needs it; width² >= n.
    """
    width = max(_MIN_WIDTH, math.isqrt(max(n - 1, 0)) + 1)
    table = np.empty((_ROUNDS, width), dtype=np.uint32 if width**2 < 2**32 else np.uint64)
    _fill_table(key, table)
    return table


@njit(cache=True, nogil=True)
def _fill_table(key: np.uint64, table: NDArray[np.unsignedinteger]) -> None:
    width = table.shape[1]
    for r in range(_ROUNDS):
        for x in range(width):  # uniform in 0..width-1
            table[r, x] = ((bits(key, r * width + x) >> np.uint64(32)) * np.uint64(width)) >> np.uint64(32)


@njit(cache=True, nogil=True)
def fill_row(left: int, n: int, table: NDArray[np.unsignedinteger], row: NDArray[np.unsignedinteger]) -> int:
    """Write row `left`, 0 <= left < width, of the permutation to the front of `row`; returns its length."""
    width = np.uint64(table.shape[1])
    for right in range(width):
        # Unsigned, so that x - width is huge where x < width: the smaller of the two is x modulo width.
        L = np.uint64(left) + table[0, right]
        L = min(L, L - width)
        R = np.uint64(right) + table[1, L]
        R = min(R, R - width)
        L = L + table[2, R]
        L = min(L, L - width)
        R = R + table[3, L]
        R = min(R, R - width)
        row[right] = L * width + R
    length = 0
    for j in range(width):  # width² is a little more than n: close the gaps, without a branch
        x = row[j]
        row[length] = x
        length += x < np.uint64(n)
    return length


def shuffled(chosen: NDArray[np.bool_], key: np.uint64) -> NDArray[np.int64]:
    """The indices i with chosen[i], in the permutation's order of all indices.

    Whether an example is chosen moves none of the others.
    """
    count = np.count_nonzero(chosen)
    indices = np.empty(count + 1, dtype=np.int64)
    _shuffle(chosen, keyed_permutation(len(chosen), key), indices)
    return indices[:count]


@njit(cache=True, nogil=True)
def _shuffle(
    chosen: NDArray[np.bool_], table: NDArray[np.unsignedinteger], indices: NDArray[np.int64]
) -> None:
    row = np.empty_like(table[0])
    count = 0
    for left in range(table.shape[1]):
        length = fill_row(left, len(chosen), table, row)
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
    _order_by_stratum(stratum, lowest, keyed_permutation(len(stratum), key), start, order)
    return order


@njit(cache=True, nogil=True)
def _order_by_stratum(
    stratum: NDArray[np.int64],
    lowest: int,
    table: NDArray[np.unsignedinteger],
    start: NDArray[np.int64],
    order: NDArray[np.int64],
) -> None:
    """A counting sort, which is stable: the order inside a stratum stays the permutation's."""
    for s in stratum:
        start[s - lowest + 1] += 1
    for s in range(1, len(start)):
        start[s] += start[s - 1]
    row = np.empty_like(table[0])
    for left in range(table.shape[1]):
        length = fill_row(left, len(stratum), table, row)
        for i in row[:length]:
            s = stratum[i] - lowest
            order[start[s]] = i
            start[s] += 1
