"""FFCV's reading thread of one epoch, which can be stopped, reports errors and gives its batches away.

FFCV writes batches into a ring of buffers and reuses them. Here the last buffer of every CPU batch is new
memory, so the caller can keep the batch without a copy.
"""

from __future__ import annotations

import atexit
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from queue import Empty
from threading import Event
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.ffcv_import import importing_ffcv, thread_counts_kept

try:
    with importing_ffcv():
        from ffcv.loader import Loader
        from ffcv.loader.epoch_iterator import EpochIterator
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

Buffer = Tensor | np.ndarray[Any, Any]
_TURN = threading.Lock()


class Buffers:
    """The memory that a loader's compiled pipeline writes to, allocated once. Epochs must not overlap.

    Args:
        loader: FFCV's loader, compiled.
    """

    def __init__(self, loader: Loader) -> None:
        self.banks = loader.graph.allocate_memory(loader.batch_size, loader.batches_ahead + 2)
        # FFCV would allocate it for every epoch, pinned if there is a GPU.
        loader.graph.allocate_memory = lambda batch_size, slots: self.banks
        banks = self.banks["operation"]
        self._renewed: list[list[Buffer]] = []
        for node in loader.graph.leaf_nodes.values():
            while node.parent is not None and banks.get(node.id) is None:
                node = node.parent
            bank = banks.get(node.id)
            if bank is None or isinstance(bank, tuple) or _on_device(bank):
                continue
            if not isinstance(bank, list):
                bank = banks[node.id] = list(bank)
            self._renewed.append(bank)

    def renew(self, slot: int) -> list[Tensor]:
        """Put new memory into a slot's last buffers, and return it."""
        fresh = []
        for bank in self._renewed:
            memory = torch.empty_like(torch.as_tensor(bank[slot]))
            bank[slot] = memory if isinstance(bank[slot], Tensor) else memory.numpy()
            fresh.append(memory)
        return fresh


class EpochReader(EpochIterator):
    """One epoch, read ahead by a thread that starts immediately.

    Args:
        loader: FFCV's loader, compiled.
        order: uint64 (n,), the positions of the examples in the file.
        sizes: integers (batches,), of the batches; none above the loader's batch size.
        buffers: the loader's buffers; no other epoch may be writing to them.
    """

    memory_context: Any = nullcontext()  # for `close`, if FFCV fails before it sets its own

    def __init__(
        self, loader: Loader, order: NDArray[np.uint64], sizes: NDArray[np.int64], buffers: Buffers
    ) -> None:
        self.error: BaseException | None = None
        self.stopped = False
        self._buffers = buffers
        self._running = Event()
        with thread_counts_kept():
            super().__init__(loader, _InBatches(order, sizes, loader.batch_size))
            self._running.wait()  # the thread has set its counts by now

    def run(self) -> None:
        try:
            for stream in self.cuda_streams:
                if stream is not None:  # the last epoch's batches may still be copied from the same buffers
                    stream.wait_stream(self.current_stream)
            super().run()
        except BaseException as error:
            self.error = error  # raised in the consumer, which must not wait for ever
            self.output_queue.put(None)
        finally:
            self._running.set()

    def run_pipeline(self, b_ix: int, batch_indices: Any, batch_slot: int, cuda_event: Any) -> Any:
        self._running.set()
        if self.terminate_event.is_set():
            raise StopIteration  # FFCV checks the event only while its queue is full
        stream = self.cuda_streams[batch_slot]
        if stream is not None:
            stream.synchronize()  # the slot's last batch may still be on its way to the device
        fresh = self._buffers.renew(batch_slot)
        with _one_at_a_time():
            results = super().run_pipeline(b_ix, batch_indices, batch_slot, cuda_event)
        return tuple(_given_away(result, fresh) for result in results)

    def __next__(self) -> Any:
        if self.stopped:
            raise RuntimeError("this epoch was stopped, because its loader began another")
        try:
            results = super().__next__()
        except StopIteration:
            if self.error is not None:
                raise self.error from None
            raise
        # On a device, the copy waits for the one that filled the buffer, and FFCV waits for this copy.
        return tuple(x if x.device.type == "cpu" else _copy(x) for x in results)

    def stop(self) -> None:
        """End the thread, and wait until all copies from FFCV's buffers are done."""
        self.stopped = True
        self.terminate_event.set()
        while self.is_alive():
            with suppress(Empty):
                while True:
                    self.output_queue.get_nowait()
            self.join(timeout=0.001)
        self.close()
        for stream in self.cuda_streams:
            if stream is not None:
                stream.synchronize()


class _InBatches:
    """An order that FFCV, which slices it at multiples of the batch size, takes in batches of other sizes."""

    def __init__(self, order: NDArray[np.uint64], sizes: NDArray[np.int64], batch_size: int) -> None:
        self._batches: list[NDArray[np.uint64]] = np.split(order, np.cumsum(sizes)[:-1])
        self._batch_size = batch_size

    def __len__(self) -> int:
        return len(self._batches) * self._batch_size

    def __getitem__(self, place: slice) -> NDArray[np.uint64]:
        batch: int = place.start // self._batch_size
        return self._batches[batch]


def _one_at_a_time() -> AbstractContextManager[Any]:
    """Return a lock if numba uses its "workqueue" threads, which abort when two threads use them at a time.

    numba uses them if it finds neither TBB nor OpenMP. Two loaders then prepare their batches in turn.
    """
    try:
        layer = numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:  # numba has not chosen its threads yet
        return _TURN
    return _TURN if layer == "workqueue" else nullcontext()


@atexit.register
def _stop_all() -> None:
    """Stop all threads, as one that is inside torch when the interpreter ends would abort the process."""
    for thread in threading.enumerate():
        if isinstance(thread, EpochReader):
            thread.stop()


def _given_away(result: Tensor, fresh: list[Tensor]) -> Tensor:
    """Return a result that no later batch overwrites: itself if it is in fresh memory, else a copy."""
    if result.device.type != "cpu":
        return result
    begin = result.data_ptr()
    if result.is_contiguous() and any(0 <= begin - x.data_ptr() < x.nbytes for x in fresh):
        return result
    return _copy(result)


def _copy(result: Tensor) -> Tensor:
    return result.clone(memory_format=torch.contiguous_format)


def _on_device(bank: Any) -> bool:
    return isinstance(bank, list) and bank[0].device.type != "cpu"
