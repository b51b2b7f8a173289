"""Random orders in O(N): examples sorted by their own keyed random numbers."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sadp_dist.selection.random import bits


def keyed_order(indices: NDArray[np.int64] | int, key: np.uint64, strata: ArrayLike | None = None) -> NDArray:
    """The indices ascending by (stratum, random number of the index under `key`).

    Args:
        indices: (n,) int64, or n for 0..n-1.
        key: of the random numbers, see `random.stream_key`.
        strata: (n,) integers, or None for one stratum.

    Returns:
        (n,) uint32 where the indices fit, else int64.
    """
    index = np.arange(indices) if isinstance(indices, int) else indices
    order = np.empty(len(index), dtype=np.uint32 if len(index) == 0 or index.max() < 2**32 else np.int64)
    _sort_by_bits(index, key, _bucket_bits(len(index)), np.empty(len(index), np.uint64), order)
    if strata is not None:
        order = _stable_by_stratum(order, np.asarray(strata))
    return order


def _bucket_bits(n: int) -> int:
    return max(1, int(n // 8).bit_length())


@njit(cache=True, nogil=True)
def _sort_by_bits(index, key, bucket_bits, sorted_bits, order):
    """Counting sort by the leading bits, then insertion sort inside the buckets of about eight."""
    shift = np.uint64(64 - bucket_bits)
    start = np.zeros((1 << bucket_bits) + 1, np.int64)
    for i in index:
        start[(bits(key, i) >> shift) + np.uint64(1)] += 1
    for b in range(1, len(start)):
        start[b] += start[b - 1]
    for i in index:
        h = bits(key, i)
        b = h >> shift
        at = start[b]
        start[b] += 1
        # Insert it among those of its bucket that are there already.
        sorted_bits[at] = h
        order[at] = i
    end = 0
    for b in range(len(start) - 1):
        begin, end = end, start[b]
        for j in range(begin + 1, end):
            h, i = sorted_bits[j], order[j]
            at = j
            while at > begin and sorted_bits[at - 1] > h:
                sorted_bits[at] = sorted_bits[at - 1]
                order[at] = order[at - 1]
                at -= 1
            sorted_bits[at] = h
            order[at] = i


def _stable_by_stratum(order: NDArray, strata: NDArray) -> NDArray:
    _, dense = np.unique(strata, return_inverse=True)
    return order[np.argsort(dense[order], kind="stable")]
