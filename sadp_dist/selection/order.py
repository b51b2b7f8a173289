"""Random orders of 0..n-1 in O(n), without a sort: a keyed permutation.

The permutation is a Feistel network of four rounds on pairs (left, right), each half in 0..width-1: a round adds to
one half a number that a table of keyed random numbers has for the other half. Four such rounds give a pseudorandom
permutation (Luby and Rackoff, 1988).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.selection.random import bits

_ROUNDS = 4
_MIN_WIDTH = 128  # below it, orders of few examples would be visibly uneven


def random_order(n: int, key: np.uint64, strata: ArrayLike | None = None) -> NDArray[np.unsignedinteger]:
    """The numbers 0..n-1 in a random order that depends on (n, key) alone.

    Args:
        n: how many.
        key: of the random numbers, from `random.stream_key`.
        strata: (n,) integers; the order then goes stratum by stratum, ascending, and is random inside each.

    Returns:
        (n,) uint32, or uint64 where n needs it.
    """
    # One place more than n: the loops write every candidate and step on where it is kept, instead of branching.
    width = max(_MIN_WIDTH, math.isqrt(max(n - 1, 0)) + 1)
    order = np.empty(n + 1, dtype=np.uint32 if width**2 < 2**32 else np.uint64)
    _permute(np.uint64(n), key, np.uint64(width), order)
    return order[:n] if strata is None else _by_stratum(order[:n], np.asarray(strata, dtype=np.int64))


def shuffled(chosen: NDArray[np.bool_], key: np.uint64) -> NDArray[np.int64]:
    """The indices i with chosen[i], in the order that `random_order` has for all of them.

    Whether another example is chosen moves none of the others.
    """
    n = np.count_nonzero(chosen)
    indices = np.empty(n + 1, dtype=np.int64)
    _take_chosen(random_order(len(chosen), key), chosen, indices)
    return indices[:n]


@njit(cache=True, nogil=True)
def _permute(n, key, width, order):
    table = np.empty((_ROUNDS, width), order.dtype)
    for r in range(_ROUNDS):
        for x in range(width):  # uniform in 0..width-1
            table[r, x] = ((bits(key, r * width + x) >> np.uint64(32)) * width) >> np.uint64(32)
    row = np.empty(width, order.dtype)
    at = 0
    for left in range(width):
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
        for x in row:
            order[at] = x
            at += x < n


@njit(cache=True, nogil=True)
def _take_chosen(order, chosen, indices):
    at = 0
    for i in order:
        indices[at] = i
        at += chosen[i]


def _by_stratum(order: NDArray[np.unsignedinteger], strata: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Counting sort by stratum; it is stable, so that the order inside a stratum stays."""
    lowest, highest = int(strata.min(initial=0)), int(strata.max(initial=0))
    if highest - lowest > 4 * len(order) + 1000:  # too thinly spread to count
        strata = np.unique(strata, return_inverse=True)[1]
        lowest, highest = 0, len(order)
    out = np.empty_like(order)
    _counting_sort(order, strata, lowest, np.zeros(highest - lowest + 2, dtype=np.int64), out)
    return out


@njit(cache=True, nogil=True)
def _counting_sort(order, strata, lowest, start, out):
    for stratum in strata:
        start[stratum - lowest + 1] += 1
    for s in range(1, len(start)):
        start[s] += start[s - 1]
    for i in order:
        s = strata[i] - lowest
        out[start[s]] = i
        start[s] += 1
