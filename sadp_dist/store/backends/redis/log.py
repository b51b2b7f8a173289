"""The log of a run in Redis. Whoever reads it from the latest snapshot on has the state of the run."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.server import Server, Unreadable
from sadp_dist.store.backends.redis.state import (
    DAMAGED,
    REMOVED,
    START,
    Keys,
    Meta,
    download,
    entry_number,
    holder,
)
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.service import Service
from sadp_dist.store.engine.snapshot import Snapshot

FRAME, ASK = b"f", b"a"
"""Fields of an entry; each entry has one of them."""
AT_ONCE = 16 << 20
"""Bytes of entries to read in one call, about."""
MAX_ENTRIES = 1024
TRIES = 20

Entries = list[tuple[bytes, dict[bytes, bytes] | None]]

_ASK = struct.Struct("<III")


def pack_ask(epoch: int, rank: int, world_size: int) -> bytes:
    """Return a rank's request for its shard of an epoch, as the `ASK` field of an entry."""
    return _ASK.pack(epoch, rank, world_size)


class Replica:
    """A service that reads the log. All replicas that have read the same entries are in the same state.

    Args:
        server: where the log is.
        run: name of the run.
        leads: the planner's own. Without a snapshot in Redis, its memory has the only whole state.

    Attributes:
        keys: of the run.
        service: as of `position`; None before the first `follow`.
        meta: the run's, as last read.
        raw: `meta` as it is in Redis.
        position: id of the last entry read.
        read: bytes of entries since the snapshot that `meta` names.
        ready: (epoch, rank, world size) of shards that became ready since the snapshot was loaded; whoever
            publishes them clears the list.
    """

    def __init__(self, server: Server, run: str, leads: bool = False) -> None:
        self._server, self._run, self.keys, self._leads = server, run, Keys(run), leads
        self.forget()

    def forget(self) -> None:
        """Drop the state; the next `follow` starts from the snapshot."""
        self.service: Service | None = None
        self.meta: Meta | None = None
        self.raw: bytes | None = None
        self.position, self.read = START, 0
        self.ready: list[tuple[int, int, int]] = []
        self.count = MAX_ENTRIES // 16

    def follow(self) -> None:
        """Read to the end of the log, from the snapshot if the log does not reach back to `position`.

        Raises:
            StoreUnavailable: the run has been removed.
            Unreachable: the run is not there now.
        """
        for _ in range(TRIES):
            if self.service is None and not self._load():
                continue
            while True:
                entries = self._next()
                if entries is None:
                    break
                last = len(entries) < self.count
                self.fold(entries)
                if last:
                    return
            self.service = None
        raise no_snapshot(self._run, self._server)

    def fold(self, entries: Entries) -> None:
        """Apply the entries that follow `position`."""
        assert self.service is not None
        size = 0
        for entry, fields in entries:
            fields = fields or {}
            size += sum(map(len, fields.values()))
            self.ready += _apply(self.service, fields)
            self.position = entry.decode()
        self.read += size
        if entries:
            self.count = max(1, min(AT_ONCE * len(entries) // max(size, 1), MAX_ENTRIES))

    def _load(self) -> bool:
        """Load the snapshot; False if it has just been replaced."""
        self.raw = self._server.redis.get(self.keys.meta)
        self.meta = Meta.unpack(self.raw)
        if self.meta is None:
            raise missing_run(self.raw, self._run, self._server)
        snapshot = download(self._server, self.keys, self.meta)
        if snapshot is None:
            return False
        try:
            self.service = Service.from_snapshot(snapshot)
        except DAMAGED as error:
            raise Unreadable(
                f"the snapshot of run {self._run!r} at {self._server.address} is damaged ({error!r}): remove "
                "the run with sadp-dist rm and go on from its last checkpoint with --resume"
            ) from None
        self.position, self.read = self.meta.position, 0
        self.ready.clear()
        return True

    def _next(self) -> Entries | None:
        """The next entries; None if there is a new log, or if it was trimmed beyond `position`."""
        assert self.meta is not None
        with self._server.redis.pipeline() as pipe:  # one transaction: what is read was not trimmed before
            pipe.get(self.keys.meta)
            pipe.xrange(self.keys.log(self.meta.log), f"({self.position}", count=self.count)
            pipe.hkeys(self.keys.snapshot(self.meta.snapshot))
            self.raw, entries, pieces = pipe.execute()
        meta = Meta.unpack(self.raw)
        if meta is None:
            raise missing_run(self.raw, self._run, self._server)
        if meta.log != self.meta.log or meta.entry > entry_number(self.position):
            return None
        if meta.snapshot != self.meta.snapshot:
            self.meta, self.read = meta, 0
        elif len(pieces) < meta.pieces and not self._leads:
            raise no_snapshot(self._run, self._server)  # the planner may have trimmed beyond `position`
        found: Entries = entries
        return found


class Reader:
    """Answers queries from a replica, which it brings up to date for each of them.

    Args:
        server: where the run is; `close` closes it.
        run: its name.
    """

    def __init__(self, server: Server, run: str) -> None:
        self._server, self._replica = server, Replica(server, run)

    @property
    def raw(self) -> bytes | None:
        """The run's meta as of the latest answer."""
        return self._replica.raw

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the engine's answer to a query."""
        service = self._up_to_date()
        assert self._replica.meta is not None
        with self._server.faults():
            planner = holder(self._server.redis.get(self._replica.keys.lease))
        return service.answer(name, arguments, planner, self._replica.meta.saved)

    def snapshot(self) -> Snapshot:
        """Return the state of the run."""
        return self._up_to_date().snapshot()

    def close(self) -> None:
        self._server.close()

    def _up_to_date(self) -> Service:
        with self._server.faults():
            self._replica.follow()
        self._replica.ready.clear()  # the planner publishes shards
        assert self._replica.service is not None
        return self._replica.service


def missing_run(raw: bytes | None, run: str, server: Server) -> Exception:
    """Return the error for a run without a meta."""
    if raw == REMOVED:
        return StoreUnavailable(f"run {run!r} has been removed from {server.address}")
    return Unreachable(
        f"{server.address} has no run {run!r}; if it was restarted empty, the run's planner brings it back"
    )


def no_snapshot(run: str, server: Server) -> Unreachable:
    """Return the error for a run whose snapshot is not in Redis."""
    return Unreachable(
        f"the snapshot of run {run!r} is missing at {server.address}; the planner that has the run in memory "
        "writes it again"
    )


def _apply(service: Service, fields: dict[bytes, bytes]) -> list[tuple[int, int, int]]:
    if FRAME in fields:
        service.receive(fields[FRAME])
        return []
    try:
        epoch, rank, world_size = _ASK.unpack(fields.get(ASK, b""))
        ready = service.ask(epoch, rank, world_size)
    except (struct.error, UsageError):
        service.skip("not a frame")
        return []
    return [(epoch, rank, world_size) for rank, world_size in ready]
