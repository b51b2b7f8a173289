"""Communication between the ranks of a torch.distributed job, or of a job of one process, for a store."""

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


def has_other_ranks() -> bool:
    """Return whether this process is one of several ranks of a torch.distributed job."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class Collective:
    """The ranks of a job. They use their own gloo group, so that a job on nccl needs no GPU for it.

    A process without torch.distributed is a job of one rank: its steps run in it, without a group.

    Every rank calls every method. An error on one rank is raised on all of them with the same message: if one
    rank raised alone, the others would wait for it. Small values travel as objects, arrays as they are.
    The group is destroyed before the process ends. Otherwise gloo's threads release their last tensors when
    the interpreter is gone, which aborts the process.

    Args:
        timeout: seconds that one rank may be later than another; default: torch.distributed's timeout.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self.rank, self.size = 0, 1
        self._open: list[dist.ProcessGroup] = []  # the only reference to the group, which closing removes
        self._give_back = weakref.finalize(self, _destroy, self._open)
        if not has_other_ranks():
            return
        with _lost_peers():
            group = dist.new_group(
                backend="gloo", timeout=None if timeout is None else timedelta(seconds=timeout)
            )
        assert isinstance(group, dist.ProcessGroup)  # this rank is a member: the group is of all ranks
        self._open.append(group)
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    @property
    def _group(self) -> dist.ProcessGroup:
        if not self._open:  # None would be the job's own group
            raise UsageError("this store is closed: connect() again, on every rank")
        return self._open[0]

    def close(self) -> None:
        """Close the group's connections. Each rank does so by itself; a second call is harmless."""
        self._give_back()

    def check(self) -> None:
        """Refuse a job that began after this: its ranks would not wait for each other.

        Raises:
            UsageError: it has.
        """
        if self.size == 1 and has_other_ranks():
            raise UsageError(
                "this store was connected before init_process_group(): connect after it, on every rank"
            )

    def agree(self, call: str, step: Callable[[], T]) -> list[T]:
        """Run a step on every rank and return the results, by rank.

        Args:
            call: name of the call, to notice a rank that makes another one.
            step: its result is small and can be pickled.

        Raises:
            UsageError, StoreUnavailable: the step failed on a rank, or the ranks made different calls.
        """
        self.check()
        if self.size == 1:
            return [step()]
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

    def same(self, call: str, name: str, value: int) -> None:
        """Refuse a value that differs between ranks; every rank calls it.

        Raises:
            UsageError: it differs, or the ranks made different calls.
        """
        values = self.agree(call, lambda: value)
        if len(set(values)) > 1:
            said = ", ".join(f"rank {rank} {name}={theirs}" for rank, theirs in enumerate(values))
            raise UsageError(f"the ranks have different values of {name}: {said}; give every rank the same")

    def on_rank_zero(self, step: Callable[[], T]) -> T:
        """Run a step on rank 0 and return its small result on every rank.

        Raises:
            UsageError, StoreUnavailable: the step failed.
        """
        if self.size == 1:
            return step()
        result, error = _attempt(step) if self.rank == 0 else (None, None)
        outcome: list[Any] = [(result, _message(error))]
        with _lost_peers():
            dist.broadcast_object_list(outcome, src=0, group=self._group)
        theirs, failure = outcome[0]
        _raise(failure, 0, cause=error)
        return theirs  # type: ignore[no-any-return]

    def gather(self, array: NDArray[Any], lengths: Sequence[int]) -> list[NDArray[Any]]:
        """Return every rank's array, (lengths[rank],) of one dtype, on rank 0; an empty list elsewhere."""
        if self.rank != 0:
            self._send(array, to=0)
            return []
        arrays = [array] + [np.empty(length, array.dtype) for length in lengths[1:]]
        self._wait([self._receive(theirs, source) for source, theirs in enumerate(arrays) if source != 0])
        return arrays

    def scatter(self, arrays: Sequence[NDArray[Any]], length: int, dtype: DTypeLike) -> NDArray[Any]:
        """Send one array of rank 0 to each rank; return this rank's, (length,) of `dtype`."""
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
    while open_groups:
        with suppress(ValueError):  # the job has ended, and the group with it
            dist.destroy_process_group(open_groups.pop())


def _attempt(step: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return step(), None
    except Exception as error:  # any error: the other ranks wait for a result
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
