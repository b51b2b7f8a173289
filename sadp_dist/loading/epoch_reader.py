"""FFCV's reading thread for one epoch, which hands its errors on, can be stopped, and gives its batches away.

FFCV writes every batch into a ring of buffers that it uses again. Here the last buffer of a batch on the CPU
is new memory, so that the batch is the caller's to keep and nothing is copied for that.
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
    """What a loader's compiled pipeline writes into: allocated once for all epochs, which never overlap.

    Args:
        loader: FFCV's, compiled.
    """

    def __init__(self, loader: Loader) -> None:
        self.banks = loader.graph.allocate_memory(loader.batch_size, loader.batches_ahead + 2)
        # FFCV would do it for every epoch, with pinned memory where there is a GPU.
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
        """Put new memory where the batch of a slot comes out; returns that memory."""
        fresh = []
        for bank in self._renewed:
            memory = torch.empty_like(torch.as_tensor(bank[slot]))
            bank[slot] = memory if isinstance(bank[slot], Tensor) else memory.numpy()
            fresh.append(memory)
        return fresh


class EpochReader(EpochIterator):
    """One epoch, read ahead by a thread that starts at once.

    Args:
        loader: FFCV's, compiled.
        order: uint64 (n,), the examples' places in the file.
        buffers: the loader's; no other epoch that writes into them may be running.
    """

    memory_context: Any = nullcontext()  # to be closed, also where FFCV did not get as far as making its own

    def __init__(self, loader: Loader, order: np.ndarray[Any, Any], buffers: Buffers) -> None:
        self.error: BaseException | None = None
        self.stopped = False
        self._buffers = buffers
        self._running = Event()
        with thread_counts_kept():
            super().__init__(loader, order)
            self._running.wait()  # the thread has set its counts by now

    def run(self) -> None:
        try:
            for stream in self.cuda_streams:
                if stream is not None:  # the last epoch may still be copied out of the same buffers
                    stream.wait_stream(self.current_stream)
            super().run()
        except BaseException as error:
            self.error = error  # and do not leave the consumer waiting
            self.output_queue.put(None)
        finally:
            self._running.set()

    def run_pipeline(self, b_ix: int, batch_indices: Any, batch_slot: int, cuda_event: Any) -> Any:
        self._running.set()
        if self.terminate_event.is_set():
            raise StopIteration  # FFCV looks at the event only while its queue is full
        stream = self.cuda_streams[batch_slot]
        if stream is not None:
            stream.synchronize()  # the slot's last batch may still be on its way to the device
        fresh = self._buffers.renew(batch_slot)
        with _one_at_a_time():
            results = super().run_pipeline(b_ix, batch_indices, batch_slot, cuda_event)
        return tuple(_given_away(result, fresh) for result in results)

    def __next__(self) -> Any:
        if self.stopped:
            raise RuntimeError("this epoch was stopped: its loader has begun another")
        try:
            results = super().__next__()
        except StopIteration:
            if self.error is not None:
                raise self.error from None
            raise
        # On a device the copy waits, there, for the one that filled the buffer, and FFCV for this one.
        return tuple(x if x.device.type == "cpu" else _copy(x) for x in results)

    def stop(self) -> None:
        """End the thread, and wait until no copy reads FFCV's buffers any more."""
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


def _one_at_a_time() -> AbstractContextManager[Any]:
    """Numba's own threads, which it takes where the machine has neither TBB's nor OpenMP's, abort a process
    that uses them from two threads: then two loaders' batches, of training and of a test, take turns."""
    try:
        layer = numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:  # not chosen yet
        return _TURN
    return _TURN if layer == "workqueue" else nullcontext()


@atexit.register
def _stop_all() -> None:
    """A thread that is inside of torch while the interpreter ends would abort the process."""
    for thread in threading.enumerate():
        if isinstance(thread, EpochReader):
            thread.stop()


def _given_away(result: Tensor, fresh: list[Tensor]) -> Tensor:
    """A result that no later batch overwrites; itself if it lies in memory that is only for it."""
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
