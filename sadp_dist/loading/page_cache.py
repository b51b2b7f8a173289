"""Keep the pages of a .beton that an epoch needs in memory, from the first batch that needs them to the last.

This replaces FFCV's `os_cache=False` and uses FFCV's compiled reader of images. Epochs may have any size and
order. The schedule is computed with arrays, memory and threads are kept for the whole run, and a page that
cannot be read is an error.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.beton import pages_by_position
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.memory_managers import ProcessCacheManager
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

READERS = 8
PREFETCH = 3


class Schedule(NamedTuple):
    """When each page is read, and where it is in memory.

    Attributes:
        read: for each batch, the pages whose reading begins before it.
        needed: for each batch, the pages that no earlier batch needs.
        slot: the slot in memory of each page of the file, uint32; 0 for a page that is not needed.
        slots: the number of slots.
    """

    read: list[list[int]]
    needed: list[list[int]]
    slot: NDArray[np.uint32]
    slots: int


def schedule(pages: Sequence[NDArray[np.int64]], ahead: int) -> Schedule:
    """Return when to read each page: once, and kept until the last batch that needs it is done.

    Args:
        pages: of each batch, the page of each example.
        ahead: batches between the start of reading a page and the first batch that needs it.
    """
    batches = len(pages)
    batch_of = np.repeat(np.arange(batches), [len(some) for some in pages])
    in_order = np.concatenate([*pages, np.empty(0, np.int64)])
    needed, first = np.unique(in_order, return_index=True)
    last = len(in_order) - 1 - np.unique(in_order[::-1], return_index=True)[1]
    begin, first, last = np.maximum(batch_of[first] - ahead, 0), batch_of[first], batch_of[last]
    plan = Schedule(
        [[] for _ in range(batches)],
        [[] for _ in range(batches)],
        np.zeros(int(needed.max(initial=-1)) + 1, np.uint32),
        0,
    )
    leaving: list[list[int]] = [[] for _ in range(batches + 1)]
    for page, of, to in zip(needed.tolist(), begin.tolist(), last.tolist(), strict=True):
        plan.read[of].append(page)
        leaving[to + 1].append(page)
    for page, batch in zip(needed.tolist(), first.tolist(), strict=True):
        plan.needed[batch].append(page)
    free: list[int] = []
    slots = 0
    for batch in range(batches):
        free += [int(plan.slot[page]) for page in leaving[batch]]
        for page in plan.read[batch]:
            if not free:
                free.append(slots)
                slots += 1
            plan.slot[page] = free.pop()
    return plan._replace(slots=slots)


class PageCache:
    """Takes the place of FFCV's memory manager.

    Args:
        manager: FFCV's. It is not kept: it holds several Python objects for each example.

    Attributes:
        reader: FFCV's reader of the file's metadata.
        pages_read: the pages read in all epochs so far.
    """

    compile_reader = ProcessCacheManager.compile_reader
    """FFCV's: (address, state of an `EpochPages`) -> the bytes written there."""

    def __init__(self, manager: ProcessCacheManager) -> None:
        self.reader = reader = manager.reader
        self.ptrs, self.sizes = manager.ptrs, manager.sizes
        self.file_name, self.page_size = reader.file_name, int(reader.page_size)
        self.pages = pages_by_position(reader)
        self.threads = ThreadPoolExecutor(READERS, thread_name_prefix="pages")
        self.pages_read = 0
        self._memory = np.empty((0, self.page_size), np.uint8)

    def schedule_epoch(self, batches: Sequence[NDArray[np.uint64]]) -> EpochPages:
        """Return the pages of an epoch; FFCV calls this when it begins, and no other epoch may be running."""
        return EpochPages(self, schedule([self.pages[batch] for batch in batches], PREFETCH))

    def memory(self, slots: int) -> NDArray[np.uint8]:
        """Return memory for this many pages; it is reused by every epoch that needs no more.

        Raises:
            UsageError: the machine does not have enough memory.
        """
        if slots > len(self._memory):
            needed, there = slots * self.page_size, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            if needed > there:
                raise UsageError(
                    f"os_cache=False: this order needs {needed / 2**30:.1f} GiB for pages, the machine has "
                    f"{there / 2**30:.1f} GiB; give the sampler a PageOrder with a smaller window"
                )
            del self._memory
            self._memory = np.empty((slots, self.page_size), np.uint8)
        return self._memory

    def free(self) -> None:
        """Give the memory back until the next epoch."""
        self._memory = np.empty((0, self.page_size), np.uint8)


class EpochPages:
    """The pages of one epoch: FFCV's memory context.

    Attributes:
        state: argument of FFCV's compiled reader, which finds an image in it.
    """

    def __init__(self, cache: PageCache, plan: Schedule) -> None:
        self._cache, self._plan = cache, plan
        self._memory = cache.memory(plan.slots)
        to_read = self._memory.view()
        to_read.flags.writeable = False  # like the mapped file, so that numba compiles for one type
        self.state = to_read, cache.ptrs, cache.sizes, plan.slot
        self._reading: dict[int, Future[None]] = {}
        self._file: int | None = None

    def __enter__(self) -> None:
        self._file = os.open(self._cache.file_name, os.O_RDONLY)

    def start_batch(self, batch: int) -> None:
        """Begin to read the pages of a later batch, and wait for the pages of this one.

        Raises:
            OSError: a page cannot be read.
        """
        for page in self._plan.read[batch]:
            self._reading[page] = self._cache.threads.submit(self._read, page)
            self._cache.pages_read += 1
        for page in self._plan.needed[batch]:
            self._reading.pop(page).result()

    def __exit__(self, *_: Any) -> None:
        """Wait for the pages being read; a second call does nothing."""
        if self._file is not None:
            for read in self._reading.values():
                read.cancel()
            wait(self._reading.values())
            self._reading.clear()
            os.close(self._file)
            self._file = None

    def _read(self, page: int) -> None:
        assert self._file is not None
        begin, room = page * self._cache.page_size, memoryview(self._memory[self._plan.slot[page]])
        done = 0
        while done < len(room):
            count = os.preadv(self._file, [room[done:]], begin + done)
            if count == 0:  # the end of the file, within its last page
                break
            done += count
        if done == 0:
            raise OSError(f"{self._cache.file_name} ends before page {page}; it was truncated")
