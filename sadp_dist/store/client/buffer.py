"""Takes what a rank pushes, on whatever device it is, to host memory without waiting for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.store.engine.validation import Records, check_epoch, check_form, check_values


class PushBuffer:
    """Pushes on their way from the training loop to a store.

    What is in host memory is checked and handed on at once. A CUDA tensor is copied into pinned memory behind
    the kernels that compute it; its push waits here until an event says that the copy is done.

    Args:
        dataset_size: N.
        sink: takes the checked records; they may share memory with what was pushed.

    Attributes:
        rejected: pushes refused; whoever passes the count on sets it back to 0.
    """

    def __init__(self, dataset_size: int, sink: Callable[[Records], None]) -> None:
        self._dataset_size = dataset_size
        self._sink = sink
        self._waiting: deque[_Push] = deque()
        self.rejected = 0

    def push(self, indices: Any, scores: Any, epoch: int, valid: Any = None) -> None:
        """Take one push; see `Store.push`.

        Raises:
            UsageError: this push is wrong; or an earlier one turned out to be, and this one has been taken.
        """
        try:
            push = _stage(indices, scores, epoch, valid)
            if push.events:
                self._waiting.append(push)
            else:
                self._hand_on(push)
        except UsageError:
            self.rejected += 1
            raise
        self.drain(wait=False)

    def drain(self, wait: bool = True) -> None:
        """Hand on what has arrived from the device; with `wait`, everything.

        Raises:
            UsageError: a push that arrived is wrong. It is dropped; those behind it stay for the next call.
        """
        while self._waiting and (wait or self._waiting[0].arrived()):
            push = self._waiting.popleft()
            push.wait()
            try:
                self._hand_on(push)
            except UsageError as error:
                self.rejected += 1
                raise UsageError(f"a push before this call was refused: {error}") from None

    def clear(self) -> None:
        """Forget what still waits."""
        self._waiting.clear()

    def _hand_on(self, push: _Push) -> None:
        indices, scores = push.indices, push.scores
        if push.valid is not None and not push.valid.all():
            indices, scores = indices[push.valid], scores[push.valid]
        self._sink(check_values(indices, scores, push.epoch, self._dataset_size))


class _Push(NamedTuple):
    """One push in host memory, to which a device may write until the events are done."""

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


def _stage(indices: Any, scores: Any, epoch: Any, valid: Any) -> _Push:
    """Starts the copies, and checks what can be checked before they have ended."""
    # A push that waits must own its arrays: a loader writes its next batch where this one's indices are.
    own = _is_on_cuda(indices) or _is_on_cuda(scores) or _is_on_cuda(valid)
    host_indices, host_scores = check_form(to_host("indices", indices, own), to_host("scores", scores, own))
    mask = _to_mask(valid, len(host_indices), own)
    events = [_event_after(array) for array in (indices, scores, valid) if _is_on_cuda(array)] if own else []
    return _Push(host_indices, host_scores, check_epoch(epoch), mask, events)


def to_host(name: str, array: Any, own: bool = False) -> Any:
    """A tensor's values in host memory, anything else as it is.

    The values of a CUDA tensor are there only when what its stream was asked so far is done.

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
    host = array.numpy(force=True)  # off its graph and, from another device, copied: one call for each push
    return host.copy() if own else host


def _is_on_cuda(array: Any) -> bool:
    return isinstance(array, torch.Tensor) and array.is_cuda


def _copy_to_pinned(array: torch.Tensor) -> torch.Tensor:
    """A copy in page-locked memory, which the device writes behind what it was asked before."""
    pinned = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
    return pinned.copy_(array, non_blocking=True)


def _event_after(array: torch.Tensor) -> torch.cuda.Event:
    """Done when all that was asked of the tensor's device so far is, the copy included."""
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
