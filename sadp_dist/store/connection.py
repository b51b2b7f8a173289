"""What a home elsewhere offers to one rank of a run; all else is `RemoteStore`'s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sadp_dist.selection.sharding import Shard
from sadp_dist.store.wire.frames import Frame
from sadp_dist.store.wire.snapshot import Snapshot


class Unreachable(Exception):
    """The home did not answer, or could not do it now; trying again may help. The message says why."""


class Restarted(Exception):
    """The home came back without some of what it had acknowledged since it handed out its latest plan."""


class Waiting(NamedTuple):
    """No shard yet.

    Attributes:
        ranks: those that have not asked for the epoch, as far as the home knows.
        planner: who plans, or None where nobody does.
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
        """Hand over frames; when it returns, the home has them all, and all that were sent before.

        Without frames it only makes sure of those before.
        """

    @abstractmethod
    def ask(self, epoch: int, rank: int, world_size: int) -> None:
        """Say that this rank has sent all it has before this epoch and wants its shard. May be repeated."""

    @abstractmethod
    def shard(self, epoch: int, rank: int, world_size: int, patience: float) -> Shard | Waiting:
        """The shard that was asked for, or after at most about `patience` seconds who is waited for.

        A home hands out a shard only when all that went into its plan outlasts the home's own restart.
        """

    @abstractmethod
    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the engine's answer to one of `engine.QUERIES`. It includes everything acknowledged."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Everything acknowledged, as one whole."""

    @abstractmethod
    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot of this run, of a new origin, then this connection's."""

    @abstractmethod
    def rejoin(self) -> None:
        """Take up the origin that another rank's `restore` has made."""

    @abstractmethod
    def close(self) -> None:
        """Close the line; the run stays."""
