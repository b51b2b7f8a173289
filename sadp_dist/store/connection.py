"""A store in another process: its options, what a backend implements, and how it is tried again.

A backend implements `Connection`. `RemoteStore` does everything else.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

from pydantic import Field, field_validator

from sadp_dist.errors import StoreUnavailable
from sadp_dist.sections import Section
from sadp_dist.selection.plan import Shard
from sadp_dist.store.engine.frames import Frame
from sadp_dist.store.engine.snapshot import Snapshot

LONGEST = 365 * 86400.0
"""Seconds: a longer timeout counts as this one, since not every clock can wait longer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds
ADVICE = "see to it and go on with --resume, or raise store.timeout"

T = TypeVar("T")


class StoreOptions(Section):
    """How a run uses a store that runs in another process; the embedded store needs none of these.

    Attributes:
        planner: where the epochs of a run in Redis are planned. "server": in `sadp-dist serve`; "rank0": in a
            thread of rank 0; "auto": in a server if one runs, else in that thread, which also replaces a
            server that stopped.
        snapshot: folder for the snapshots from which a Ray actor recovers, on any path that fsspec reads.
            None: a folder for temporary files, which is lost with its machine.
        timeout: seconds that a rank waits for the store and for the other ranks before it gives up.
    """

    planner: Literal["auto", "server", "rank0"] = "auto"
    snapshot: str | None = None
    timeout: Annotated[float, Field(gt=0)] = 1800.0

    @field_validator("timeout")
    @classmethod
    def _at_most_a_year(cls, timeout: float) -> float:
        return min(timeout, LONGEST)


class Unreachable(Exception):
    """The backend did not answer, or could not do it now. Trying again may help. The message says why."""


class Restarted(Exception):
    """The backend came back without some of what it had acknowledged since its latest plan."""


class Waiting(NamedTuple):
    """No shard yet.

    Attributes:
        ranks: those that have not asked for the epoch, as far as the backend knows.
        planner: name of the process that plans; None if there is none.
    """

    ranks: tuple[int, ...]
    planner: str | None


class Queryable(Protocol):
    """Something that carries queries to a run."""

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """See `Connection.query`."""

    def close(self) -> None:
        """See `Connection.close`."""


class Connection(ABC):
    """One rank's line to its run. One thread calls `send` while another one calls the rest.

    Every call but `close` may raise `Unreachable`; the caller tries again. Every call but `restore`, `rejoin`
    and `close` raises `Restarted`, once, after the backend has come back with less than it had; the caller
    then sends everything again that it sent since its last shard. `StoreUnavailable` and `UsageError` are
    final.
    """

    @abstractmethod
    def send(self, frames: Sequence[Frame]) -> None:
        """Send frames. When it returns, the backend has them, and every frame that was sent before.

        Without frames it only checks that the backend has the earlier ones.
        """

    @abstractmethod
    def ask(self, epoch: int, rank: int, world_size: int) -> None:
        """Ask for this rank's shard of an epoch; its earlier scores have been sent. May be repeated."""

    @abstractmethod
    def shard(self, epoch: int, rank: int, world_size: int, patience: float) -> Shard | Waiting:
        """Return the shard that was asked for, or after about `patience` seconds who is waited for.

        A backend gives out a shard only once the scores behind its plan would survive a restart of the
        backend.
        """

    @abstractmethod
    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the engine's answer to one of `engine.QUERIES`. It includes everything acknowledged."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Return the state of the run, with everything acknowledged."""

    @abstractmethod
    def restore(self, snapshot: Snapshot) -> None:
        """Replace the run's state by a snapshot, under a new token, which this connection then uses."""

    @abstractmethod
    def rejoin(self) -> None:
        """Use the token that another rank's `restore` has made."""

    @abstractmethod
    def close(self) -> None:
        """Close the line; the run stays."""


def pauses() -> Iterator[float]:
    """Yield the seconds to wait before each further try: twice as long each time, different on each rank."""
    chance = random.SystemRandom()  # leaves the job's random numbers alone
    pause = FIRST_PAUSE
    while True:
        yield pause * chance.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)


def unavailable(problem: Unreachable, timeout: float, advice: str = ADVICE) -> StoreUnavailable:
    """Return the error for a store that has not answered for too long."""
    return StoreUnavailable(f"{problem}; tried for {timeout:g} s: {advice}")


def until_reached(call: Callable[[], T], timeout: float, advice: str = ADVICE) -> T:
    """Return the result of a call that is repeated as long as it raises `Unreachable`.

    Args:
        call: asks the store.
        timeout: seconds after which to give up.
        advice: what to do then; the end of the message.

    Raises:
        StoreUnavailable: no answer for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for pause in pauses():
        try:
            return call()
        except Unreachable as problem:
            if time.monotonic() + pause > deadline:
                raise unavailable(problem, timeout, advice) from problem
        time.sleep(pause)
    raise AssertionError("pauses never end")
