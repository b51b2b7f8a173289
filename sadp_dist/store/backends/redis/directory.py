"""The names of all runs in a Redis."""

from __future__ import annotations

from types import TracebackType

from sadp_dist.store.backends.redis.address import Address
from sadp_dist.store.backends.redis.server import Server

RUNS = "sadp_dist:runs"
"""A set: the names of all runs."""


class Directory:
    """The names of all runs. It has its own `Server`: in a cluster, the names may be on another node."""

    def __init__(self, address: Address) -> None:
        self._server = Server(address)

    def names(self) -> list[str]:
        """Return all names in alphabetical order."""
        with self._server.faults():
            return sorted(name.decode() for name in self._server.redis.smembers(RUNS))

    def add(self, run: str) -> None:
        """Add a name; adding it twice is harmless."""
        with self._server.faults():
            self._server.redis.sadd(RUNS, run)

    def remove(self, run: str) -> None:
        with self._server.faults():
            self._server.redis.srem(RUNS, run)

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
