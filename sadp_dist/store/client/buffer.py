"""Moves pushes from any device to host memory, without waiting for the device."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.store.engine.run import Records, check_epoch, check_form, check_values


class PushBuffer:
    """Pushes on their way from the training loop to a store.

    A push in host memory is checked and passed on at once. A CUDA tensor is copied into pinned memory, queued
    behind the kernels that compute it. Its push waits here until an event shows that the copy is complete.

    Args:
        dataset_size: N.
        sink: receives the checked records, which may share memory with the push.
        check_epoch: returns an epoch, or refuses it.

    Attributes:
        rejected: pushes refused and not reported yet.
        rows: epoch -> rows that pushes had, valid or not, of the two epochs pushed last.
    """

    def __init__(
        self,
        dataset_size: int,
        sink: Callable[[Records], None],
        check_epoch: Callable[[int], int] = check_epoch,
    ) -> None:
        self._dataset_size = dataset_size
        self._sink, self._check_epoch = sink, check_epoch
        self.rows: dict[int, int] = {}
        self._waiting: deque[_Push] = deque()
        self.rejected = 0
        self._process = os.getpid()

    def push(self, indices: Any, scores: Any, epoch: int, valid: Any = None) -> None:
        """Take one push; see `Store.push`.

        Raises:
            UsageError: this push is wrong; or an earlier one was, and this one has been accepted; or this
                process is a fork.
        """
        self.check_process()
        try:
            push = _stage(indices, scores, self._check_epoch(epoch), valid)
            if push.events:
                self._waiting.append(push)
            else:
                self._hand_on(push)
        except UsageError:
            self.rejected += 1
            raise
        self._count(push)
        self.drain(wait=False)

    def drain(self, wait: bool = True) -> None:
        """Pass on what has arrived from the device; with `wait`, everything.

        Raises:
            UsageError: a push is wrong. It is dropped; the pushes after it stay for the next call. Or this
                process is a fork.
        """
        self.check_process()
        while self._waiting and (wait or self._waiting[0].arrived()):
            push = self._waiting.popleft()
            push.wait()
            try:
                self._hand_on(push)
            except UsageError as error:
                self.rejected += 1
                raise UsageError(f"a push before this call was refused: {error}") from None

    def check_process(self) -> None:
        """Refuse to work in a fork: it has no thread that sends, and a copy of the store that nobody reads.

        Raises:
            UsageError: another process has connected.
        """
        if self.forked:
            raise UsageError(
                "this process is a fork of the one that connected the store, such as a DataLoader worker: "
                "its scores would be lost; push them in the training loop, or connect() in this process"
            )

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that has connected."""
        return os.getpid() != self._process

    def take_rejected(self) -> int:
        """Return the number of pushes refused since the last call, for a report."""
        count, self.rejected = self.rejected, 0
        return count

    def clear(self) -> None:
        """Drop the pushes that still wait."""
        self._waiting.clear()
        self.rows.clear()

    def _count(self, push: _Push) -> None:
        if push.epoch not in self.rows and len(self.rows) > 1:
            del self.rows[next(iter(self.rows))]
        self.rows[push.epoch] = self.rows.get(push.epoch, 0) + len(push.indices)

    def _hand_on(self, push: _Push) -> None:
        indices, scores = push.indices, push.scores
        if push.valid is not None and not push.valid.all():
            indices, scores = indices[push.valid], scores[push.valid]
        self._sink(check_values(indices, scores, push.epoch, self._dataset_size))


class _Push(NamedTuple):
    """One push in host memory. A device may write to it until the events are done."""

    indices: NDArray[Any]
    scores: NDArray[Any]
    epoch: int
    valid: NDArray[np.bool_] | None
    events: list[torch.cuda.Event]

    def arrived(self) -> bool:
        return all(event.query() for event in self.events)

    def wait(self) -> None:
        for event in self.events:
            event.synchronize()


def _stage(indices: Any, scores: Any, epoch: int, valid: Any) -> _Push:
    """Start the copies, and check what can be checked before they end."""
    # A push that waits must own its arrays: a loader reuses the memory of its indices for the next batch.
    own = _is_on_cuda(indices) or _is_on_cuda(scores) or _is_on_cuda(valid)
    host_indices, host_scores = check_form(to_host("indices", indices, own), to_host("scores", scores, own))
    mask = _to_mask(valid, len(host_indices), own)
    events = [_event_after(array) for array in (indices, scores, valid) if _is_on_cuda(array)] if own else []
    return _Push(host_indices, host_scores, epoch, mask, events)


def to_host(name: str, array: Any, own: bool = False) -> Any:
    """Return a tensor's values in host memory; anything else unchanged.

    The values of a CUDA tensor are there once its stream has finished the work queued so far.

    Args:
        name: of the argument, for the error.
        array: a tensor on any device, or anything else.
        own: the result must not share memory with `array`.

    Raises:
        UsageError: a sparse tensor, or one without data.
    """
    if not isinstance(array, torch.Tensor):
        return np.array(array) if own else array
    if array.layout != torch.strided or array.is_meta:
        raise UsageError(f"{name} are a {array.layout} tensor on {array.device}: a dense one is needed")
    if array.is_floating_point() and array.dtype != torch.float64:
        array = array.float()  # numpy has no bfloat16
    if _is_on_cuda(array):
        return _copy_to_pinned(array.detach()).numpy()
    host = array.numpy(force=True)  # detached, and copied from another device: one call for each push
    return host.copy() if own else host


def _is_on_cuda(array: Any) -> bool:
    return isinstance(array, torch.Tensor) and array.is_cuda


def _copy_to_pinned(array: torch.Tensor) -> torch.Tensor:
    """Return a copy in page-locked memory, which the device writes after the work queued before."""
    pinned = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
    return pinned.copy_(array, non_blocking=True)


def _event_after(array: torch.Tensor) -> torch.cuda.Event:
    """Return an event that is done when all work queued on the tensor's device is, with the copy."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(array.device))
    return event


def _to_mask(valid: Any, length: int, own: bool) -> NDArray[np.bool_] | None:
    if valid is None:
        return None
    mask = np.asarray(to_host("valid", valid, own))
    if mask.dtype != np.bool_ or mask.shape != (length,):
        raise UsageError(f"valid is {mask.dtype} of shape {mask.shape}: bool of shape ({length},) is needed")
    return mask
