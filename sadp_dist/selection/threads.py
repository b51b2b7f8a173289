"""Threads for the steps of a plan that look at every example, in kernels that hold no lock of Python's.

They are Python's own and live for one step. Numba's, which a parallel kernel would use, will not do: FFCV
reads with them in a thread of its own, and they abort a process that uses them from two at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")

_MOST = 8
"""More threads than that find the memory busy."""


def thread_count() -> int:
    """The cores that this process may use, shared with the other ranks of its node."""
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    cores = len(os.sched_getaffinity(0)) // max(int(ranks) if ranks.isdecimal() else 1, 1)
    return min(max(cores, 1), _MOST)


def in_threads(function: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """function(item) of each item, in the order of the items; what they give must not depend on the threads.

    The first error is raised, once those at work are done.
    """
    threads = min(thread_count(), len(items))
    if threads <= 1:
        return list(map(function, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
