"""A run in Redis is a log; its state is what comes out when one reads it from the latest snapshot on."""

from __future__ import annotations

import struct

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.keys import REMOVED, Keys, Meta, entry_number
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import START, download
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.service import Service

FRAME, ASK = b"f", b"a"
"""Fields of an entry: it has the one or the other."""
AT_ONCE = 16 << 20
"""Bytes of entries to read in one go, roughly."""
MAX_ENTRIES = 1024
TRIES = 20

Entries = list[tuple[bytes, dict[bytes, bytes] | None]]

_ASK = struct.Struct("<III")


def pack_ask(epoch: int, rank: int, world_size: int) -> bytes:
    """A rank's wish for its shard of an epoch, as an entry's `ASK`."""
    return _ASK.pack(epoch, rank, world_size)


class Replica:
    """A service that reads the log. All that read the same entries are in the same state.

    Args:
        server: where the log is.
        run: name of the run.

    Attributes:
        keys: of the run.
        service: as of `position`; None before the first `follow`.
        meta: the run's, as last read.
        raw: `meta` in Redis.
        position: id of the last entry read.
        read: bytes of entries since the snapshot that `meta` names.
        ready: (epoch, rank, world size) whose shards could be had since the snapshot was loaded; whoever
            publishes them clears it.
    """

    def __init__(self, server: Server, run: str) -> None:
        self._server, self._run, self.keys = server, run, Keys(run)
        self.forget()

    def forget(self) -> None:
        """Start from the snapshot again the next time."""
        self.service: Service | None = None
        self.meta: Meta | None = None
        self.raw: bytes | None = None
        self.position, self.read = START, 0
        self.ready: list[tuple[int, int, int]] = []
        self.count = MAX_ENTRIES // 16

    def follow(self) -> None:
        """Read on up to the end of the log, from a snapshot if the log does not reach back far enough.

        Raises:
            StoreUnavailable: the run is gone for good.
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
        raise Unreachable(f"run {self._run!r} at {self._server.address} is replaced over and over")

    def fold(self, entries: Entries) -> None:
        """Apply entries that follow on `position`."""
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
        """Take the state from the snapshot; False if it was replaced meanwhile."""
        self.raw = self._server.redis.get(self.keys.meta)
        self.meta = Meta.unpack(self.raw)
        if self.meta is None:
            raise lost(self.raw, self._run, self._server)
        snapshot = download(self._server, self.keys, self.meta)
        if snapshot is None:
            return False
        self.service = Service.from_snapshot(snapshot)
        self.position, self.read = self.meta.position, 0
        self.ready.clear()
        return True

    def _next(self) -> Entries | None:
        """The next entries; None if the log has been begun anew, or trimmed behind `position`."""
        assert self.meta is not None
        with self._server.redis.pipeline() as pipe:  # one transaction: what is read was not trimmed before
            pipe.get(self.keys.meta)
            pipe.xrange(self.keys.log(self.meta.generation), f"({self.position}", count=self.count)
            self.raw, entries = pipe.execute()
        meta = Meta.unpack(self.raw)
        if meta is None:
            raise lost(self.raw, self._run, self._server)
        if meta.generation != self.meta.generation or meta.entry > entry_number(self.position):
            return None
        if meta.snapshot != self.meta.snapshot:
            self.meta, self.read = meta, 0
        found: Entries = entries
        return found


def lost(raw: bytes | None, run: str, server: Server) -> Exception:
    """What it means that a run's meta is not there."""
    if raw == REMOVED:
        return StoreUnavailable(f"run {run!r} has been removed from {server.address}")
    return Unreachable(
        f"{server.address} has no run {run!r}; if it was restarted empty, the run's planner brings it back"
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
