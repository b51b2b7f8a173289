"""Passes over arrays with an entry for each example: in threads, with the same bits for any number of them.

The threads are Python's own and live for one pass; the kernels do not hold Python's lock. Numba's threads,
which a parallel kernel would use, do not work here: FFCV reads with them in a thread of its own, and they
abort a process that uses them from two at a time. For a sum, an array is added up in blocks, and the sums of
the blocks are added exactly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

T = TypeVar("T")
Item = TypeVar("Item")

BLOCK = 16_384
"""Examples that a kernel goes through together. What is rounded is rounded inside a block, so that results do
not depend on the threads."""
_LOOK = 256 * BLOCK  # examples for one thread at a time: enough to be worth a thread
_MOST = 8
"""With more threads than this, the memory is the bottleneck."""
_COLUMNS = 256  # of a block, added up side by side


def thread_count() -> int:
    """Return the number of cores that this process may use; the ranks of a node share them."""
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    cores = len(os.sched_getaffinity(0)) // max(int(ranks) if ranks.isdecimal() else 1, 1)
    return min(max(cores, 1), _MOST)


def in_threads(function: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """Return function(item) of each item, in the order of the items.

    The results must not depend on the threads. The first error is raised once all calls have ended.
    """
    threads = min(thread_count(), len(items))
    if threads <= 1:
        return list(map(function, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def slices(length: int, step: int = _LOOK) -> list[slice]:
    """Return slices of `step` that cover 0..length-1; one empty slice for length 0."""
    return [slice(begin, min(begin + step, length)) for begin in range(0, max(length, 1), step)]


def stretches(length: int, least: int = 16 * BLOCK) -> list[slice]:
    """Return one slice of whole blocks for each thread, as equal as possible, of about `least` or more."""
    blocks = max(-(-length // BLOCK), 1)
    count = min(thread_count(), max(length // least, 1), blocks)
    bounds = [min(blocks * part // count * BLOCK, length) for part in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(bounds)]


def block_sums(
    scores: NDArray[np.floating], threshold: float = math.inf, offset: float = 0.0, some_below: bool = False
) -> tuple[float, int]:
    """Return the sum of H = G - offset over H < threshold, and the count of such H.

    NaN is left out. With `some_below`, scores may be below the offset; those have H = 0.
    """

    def sums_of(some: slice) -> tuple[NDArray[np.float64], int]:
        part = scores[some]
        sums = np.empty(-(-len(part) // BLOCK))
        return sums, _sum_blocks(part, threshold, offset, True if some_below else None, sums)

    sums, counts = zip(*in_threads(sums_of, slices(len(scores))), strict=True)
    return math.fsum(np.concatenate(sums)), sum(counts)


@njit(cache=True, nogil=True)
def _sum_blocks(
    scores: NDArray[np.floating],
    threshold: float,
    offset: float,
    some_below: bool | None,
    sums: NDArray[np.float64],
) -> int:
    """One fused pass. A block is added up in columns, side by side: fast, and in the same order anywhere."""
    total, below = np.empty(_COLUMNS), np.empty(_COLUMNS, np.int64)
    count = 0
    for block in range(len(sums)):
        total[:] = 0.0
        below[:] = 0
        end = min((block + 1) * BLOCK, len(scores))
        for begin in range(block * BLOCK, end, _COLUMNS):
            row = scores[begin : min(begin + _COLUMNS, end)]
            for k in range(len(row)):
                H = np.float64(row[k]) - offset
                if some_below is not None:  # decided when this is compiled
                    H = np.float64(0) if H < 0 else H
                is_below = H < threshold  # noqa: SIM300
                total[k] += H if is_below else 0.0
                below[k] += is_below
        sums[block] = 0.0
        for k in range(_COLUMNS):
            sums[block] += total[k]
            count += below[k]
    return count


class Extremes(NamedTuple):
    """Figures of some probabilities.

    Attributes:
        total: Σ p.
        ones: number of p that are 1.
        smallest: smallest p; infinity for none.
        largest: largest p; 0 for none.
        below_one: an example with the largest p that is below 1; -1 for none.
    """

    total: float
    ones: int
    smallest: float
    largest: float
    below_one: int


def extremes(p: NDArray[np.float64]) -> Extremes:
    """Return Σ p, how many p are 1, and the smallest and the largest p, in one pass."""
    parts = in_threads(lambda some: _extremes(p[some]), slices(len(p)))
    totals, ones, smallest, largest, below_one = zip(*parts, strict=True)
    return Extremes(math.fsum(totals), sum(ones), min(smallest), max(largest), _index_of(p, max(below_one)))


@njit(cache=True, nogil=True)
def _extremes(p: NDArray[np.float64]) -> tuple[float, int, float, float, float]:
    total, ones, smallest, largest, below_one = np.zeros(8), 0, np.inf, 0.0, -1.0
    for i in range(len(p)):
        q = p[i]
        total[i & 7] += q  # side by side, so that no sum waits for the one before
        ones += q == 1.0
        smallest = min(smallest, q)
        largest = max(largest, q)
        below_one = max(below_one, q if q < 1.0 else -1.0)
    return total.sum(), ones, smallest, largest, below_one


@njit(cache=True, nogil=True)
def _index_of(p: NDArray[np.float64], value: float) -> int:
    for i in range(len(p)):
        if p[i] == value:
            return i
    return -1


def weight_figures(weights: NDArray[np.float64]) -> tuple[float, float]:
    """Return two figures of a plan's weights; both are 0 for an empty plan.

    Returns:
        max(w), by which the gradient of an example is scaled at most; and (Σ w)² / Σ w² (Kish), the number of
        equally weighted examples with as much information.
    """
    parts = in_threads(lambda some: _powers(weights[some]), slices(len(weights)))
    sums, squares, largest = zip(*parts, strict=True)
    total = math.fsum(squares)
    return max(largest), math.fsum(sums) ** 2 / total if total else 0.0


@njit(cache=True, nogil=True)
def _powers(weights: NDArray[np.float64]) -> tuple[float, float, float]:
    total, squares, largest = 0.0, 0.0, 0.0
    for w in weights:
        total += w
        squares += w * w
        largest = max(largest, w)
    return total, squares, largest
