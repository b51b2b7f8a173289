"""Threads for the steps of a plan that look at every example, in kernels that do not hold Python's lock.

They are Python's own and live for one step. Numba's threads, which a parallel kernel would use, do not work
here: FFCV reads with them in a thread of its own, and they abort a process that uses them from two at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")

BLOCK = 16_384
"""Examples that a kernel goes through together. What is rounded is rounded inside a block, so that results do
not depend on the threads."""
_LOOK = 256 * BLOCK  # examples for one thread at a time: enough to be worth a thread
_MOST = 8
"""With more threads than this, the memory is the bottleneck."""


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
