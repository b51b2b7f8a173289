"""What the processes of a torch.distributed job say to each other on behalf of a store."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import DTypeLike, NDArray

from sadp_dist.errors import StoreUnavailable, UsageError

T = TypeVar("T")

Failure = tuple[type[Exception], str]

CONNECTED_TOO_EARLY = "this store was connected before init_process_group(): connect after it, on every rank"


def has_other_ranks() -> bool:
    """Whether this process is one of several of a torch.distributed job."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class Collective:
    """The ranks of a job, over a gloo group of their own, so that a job on nccl keeps its GPUs out of it.

    Every method is called by every rank. What fails on one fails on all of them with the same line: a rank
    that raised alone would leave the others waiting. Small things travel as objects, arrays as they are.
    A process that ends gives the group back by itself: gloo's threads still let go of the last tensors then,
    for which they need the interpreter, and one that finds it gone aborts the process.

    Args:
        timeout: seconds that one rank may be later than another; by default torch.distributed's.
    """

    def __init__(self, timeout: float | None = None) -> None:
        with _lost_peers():
            group = dist.new_group(
                backend="gloo", timeout=None if timeout is None else timedelta(seconds=timeout)
            )
        assert isinstance(group, dist.ProcessGroup)  # this rank is a member: the group is of all ranks
        self._open: list[dist.ProcessGroup] = [group]  # the one reference to it, which closing takes
        self._give_back = weakref.finalize(self, _destroy, self._open)
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)

    @property
    def _group(self) -> dist.ProcessGroup:
        if not self._open:  # None would be the job's own group, which is not ours to use
            raise UsageError("this store is closed: connect() again, on every rank")
        return self._open[0]

    def close(self) -> None:
        """Give back the group's connections. Each rank by itself, waiting for nobody; twice does no harm."""
        self._give_back()

    def agree(self, call: str, step: Callable[[], T]) -> list[T]:
        """Run a step on every rank and return everyone's result, by rank.

        Args:
            call: what is being done, to notice a rank that is somewhere else.
            step: its result is small and can be pickled.

        Raises:
            UsageError, StoreUnavailable: it failed on a rank, or the ranks called different things.
        """
        result, error = _attempt(step)
        everyone: list[Any] = [None] * self.size
        with _lost_peers():
            dist.all_gather_object(everyone, (call, result, _message(error)), group=self._group)
        calls = [theirs for theirs, _, _ in everyone]
        if len(set(calls)) > 1:
            said = ", ".join(f"rank {rank} {name}()" for rank, name in enumerate(calls))
            raise UsageError(f"the ranks called different things at the same time: {said}; all call the same")
        for rank, (_, _, theirs) in enumerate(everyone):
            _raise(theirs, rank, cause=error)
        return [theirs for _, theirs, _ in everyone]

    def on_rank_zero(self, step: Callable[[], T]) -> T:
        """Run a step on rank 0 and return its small result on every rank.

        Raises:
            UsageError, StoreUnavailable: it failed there.
        """
        result, error = _attempt(step) if self.rank == 0 else (None, None)
        outcome: list[Any] = [(result, _message(error))]
        with _lost_peers():
            dist.broadcast_object_list(outcome, src=0, group=self._group)
        theirs, failure = outcome[0]
        _raise(failure, 0, cause=error)
        return theirs  # type: ignore[no-any-return]

    def gather(self, array: NDArray[Any], lengths: Sequence[int]) -> list[NDArray[Any]]:
        """Every rank's array, (lengths[rank],) and of one dtype, on rank 0; an empty list on the others."""
        if self.rank != 0:
            self._send(array, to=0)
            return []
        arrays = [array] + [np.empty(length, array.dtype) for length in lengths[1:]]
        self._wait([self._receive(theirs, source) for source, theirs in enumerate(arrays) if source != 0])
        return arrays

    def scatter(self, arrays: Sequence[NDArray[Any]], length: int, dtype: DTypeLike) -> NDArray[Any]:
        """From rank 0, which gives an array for each rank, to every rank its own, (length,) of `dtype`."""
        if self.rank == 0:
            for rank, array in enumerate(arrays):
                if rank != 0:
                    self._send(array, to=rank)
            return arrays[0]
        mine = np.empty(length, dtype)
        self._wait([self._receive(mine, source=0)])
        return mine

    def _send(self, array: NDArray[Any], to: int) -> None:
        if len(array):
            with _lost_peers():
                dist.send(torch.from_numpy(array), dst=to, group=self._group)

    def _receive(self, array: NDArray[Any], source: int) -> dist.Work | None:
        with _lost_peers():
            return dist.irecv(torch.from_numpy(array), src=source, group=self._group) if len(array) else None

    def _wait(self, transfers: Sequence[dist.Work | None]) -> None:
        with _lost_peers():
            for transfer in transfers:
                if transfer is not None:
                    transfer.wait()


def _destroy(open_groups: list[dist.ProcessGroup]) -> None:
    with suppress(ValueError):  # the job has ended, and the group with it
        dist.destroy_process_group(open_groups.pop())


def _attempt(step: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return step(), None
    except Exception as error:  # the others are waiting: whatever it is, they must hear of it
        return None, error


def _message(error: Exception | None) -> Failure | None:
    if error is None:
        return None
    for kind in (UsageError, StoreUnavailable):
        if isinstance(error, kind):
            return kind, str(error)
    return RuntimeError, f"{type(error).__name__}: {error}"


def _raise(failure: Failure | None, rank: int, cause: Exception | None) -> None:
    if failure is not None:
        kind, message = failure
        raise kind(f"rank {rank}: {message}") from cause


@contextmanager
def _lost_peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreUnavailable(
            f"another rank of this job is gone; see the output of the one that stopped first ({reason})"
        ) from error
