"""`Connection`: what a backend in another process implements. `RemoteStore` does everything else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sadp_dist.selection.plan import Shard
from sadp_dist.store.engine.frames import Frame
from sadp_dist.store.engine.snapshot import Snapshot


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
