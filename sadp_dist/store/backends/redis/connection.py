"""A rank's line to a run in Redis."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from sadp_dist.errors import StoreUnavailable
from sadp_dist.selection.plan import Shard
from sadp_dist.store.backends.redis.log import ASK, FRAME, Reader, missing_run, pack_ask
from sadp_dist.store.backends.redis.planner import Planner
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import (
    Changed,
    Keys,
    Meta,
    begin,
    holder,
    missing_ranks,
    shard_field,
)
from sadp_dist.store.connection import Connection, Restarted, Unreachable, Waiting
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.frames import Frame, decode_shard, encode, shard_bytes
from sadp_dist.store.engine.service import Service, refuse_if_over
from sadp_dist.store.engine.snapshot import Snapshot

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.25
"""Seconds between looks for a shard. They grow with the time that it has been waited for."""

T = TypeVar("T")


class _Received(NamedTuple):
    """The shard that a rank got last. The rank need not keep the scores that went into it."""

    epoch: int
    rank: int
    world_size: int


class RedisConnection(Connection):
    """Writes to the log, and waits for the planner's shards.

    The connection knows the log's name and the Redis process that it last found complete. If either changes,
    Redis may have lost something: see `_accept_restart`.

    Args:
        server: where the run is; the connection closes it.
        meta: of the run.
        planner: the planner in this process, if there is one; the connection stops it.
    """

    def __init__(self, server: Server, meta: Meta, planner: Planner | None = None) -> None:
        self._server, self._planner = server, planner
        self._run, self._dataset_size = meta.run, meta.facts["dataset_size"]
        self._keys = Keys(meta.run)
        self._reader = Reader(server, meta.run)
        self._asked = 0.0
        self._received: _Received | None
        self._accept(meta)

    def send(self, frames: Sequence[Frame]) -> None:
        self._append(FRAME, (encode(frame, self._token, self._dataset_size) for frame in frames))

    def ask(self, epoch: int, rank: int, world_size: int) -> None:
        with self._server.faults():
            meta = self._check(self._server.redis.get(self._keys.meta))
        refuse_if_over(epoch, meta.epoch, self._run)
        self._append(ASK, [pack_ask(epoch, rank, world_size)])
        self._asked = time.monotonic()

    def shard(self, epoch: int, rank: int, world_size: int, patience: float) -> Shard | Waiting:
        deadline = time.monotonic() + patience
        while True:
            with self._server.faults(), self._server.redis.pipeline(transaction=False) as pipe:
                pipe.get(self._keys.meta)
                pipe.hget(self._keys.shards(self._log), shard_field(epoch, rank, world_size, 0))
                pipe.get(self._keys.status)
                pipe.get(self._keys.lease)
                pipe.get(self._keys.server)
                raw, start, status, lease, outside = pipe.execute()
                meta = self._check(raw)
                if start is not None:
                    shard = self._complete(start, epoch, rank, world_size)
                    self._received = _Received(epoch, rank, world_size)
                    return shard
                refuse_if_over(epoch, meta.epoch, self._run)
            if self._planner is not None:
                self._planner.check()
            now = time.monotonic()
            if now >= deadline:
                if self._planner is not None and self._planner.trouble is not None:
                    raise Unreachable(str(self._planner.trouble))
                planner = holder(lease) or (outside or b"").decode(errors="replace") or None
                return Waiting(missing_ranks(status, epoch, world_size), planner)
            pause = min(max(FIRST_LOOK, (now - self._asked) / 10), LONGEST_LOOK)
            time.sleep(min(pause, deadline - now))

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        return self._read(lambda: self._reader.query(name, arguments))

    def snapshot(self) -> Snapshot:
        return self._read(self._reader.snapshot)

    def restore(self, snapshot: Snapshot) -> None:
        ours = replace(snapshot, run=replace(snapshot.run, name=self._run))
        service = Service(Engine.from_snapshot(ours), secrets.randbits(64))
        with self._server.faults():
            while True:
                try:
                    raw = self._server.redis.get(self._keys.meta)
                    meta, _ = begin(self._server, self._keys, service, raw)
                    break
                except Changed:
                    continue
        self._accept(meta)

    def rejoin(self) -> None:
        with self._server.faults():
            raw = self._server.redis.get(self._keys.meta)
        meta = Meta.unpack(raw)
        if meta is None:
            raise missing_run(raw, self._run, self._server)
        self._accept(meta)

    def close(self) -> None:
        if self._planner is not None:
            self._planner.stop(timeout=2.0)
        self._server.close()

    def _append(self, field: bytes, values: Iterable[bytes]) -> None:
        """Add entries to the log of a run that has been found complete."""
        with self._server.faults(), self._server.redis.pipeline() as pipe:
            # WATCH ties the transaction to one socket, so that the process that was checked gets the entries.
            # The watched key changes only with the planner; meta changes with each snapshot.
            pipe.watch(self._keys.planner)
            self._check(pipe.get(self._keys.meta))
            log = self._keys.log(self._log)
            pipe.multi()
            for value in values:
                pipe.xadd(log, {field: value}, nomkstream=True)
            added = pipe.execute()
        if None in added:
            raise Unreachable(f"{self._server.address} has just begun a new log of run {self._run!r}")

    def _read(self, question: Callable[[], T]) -> T:
        answer = question()
        with self._server.faults():
            self._check(self._reader.raw)
        return answer

    def _accept(self, meta: Meta) -> None:
        """Begin to trust a run and the Redis process that has it."""
        self._token = meta.token
        self._log, self._process = meta.log, self._server.process
        self._received = None

    def _ours(self, raw: bytes | None) -> Meta:
        """Return the run's meta.

        Raises:
            Unreachable, StoreUnavailable: the run is missing for now, or was removed or replaced.
        """
        meta = Meta.unpack(raw)
        if meta is None:
            raise missing_run(raw, self._run, self._server)
        if meta.token != self._token:
            raise StoreUnavailable(
                f"run {self._run!r} at {self._server.address} is no longer what this job began: another job "
                "has started it anew (give one of the two another run name), or Redis has lost its latest "
                "writes (go on from the last checkpoint with --resume)"
            )
        return meta

    def _check(self, raw: bytes | None) -> Meta:
        """Return the run's meta if Redis is known to have everything that it acknowledged.

        Raises:
            Restarted: Redis may have lost some of it.
            Unreachable, StoreUnavailable: it has lost some of it, or the run is missing.
        """
        meta = self._ours(raw)
        if (meta.log, self._server.process) != (self._log, self._process):
            self._accept_restart()
            raise Restarted
        return meta

    def _accept_restart(self) -> None:
        """Continue with another process or log, if this rank can send again all that may be lost.

        A rank can send again what it has sent since its last shard. The scores before that are complete if
        the plan is there, or the shard, which was written after it: Redis loses the latest writes first.
        """
        had = self._received
        with self._server.redis.pipeline() as pipe:  # one transaction: one process answers
            pipe.info("server")
            pipe.get(self._keys.meta)
            pipe.hget(self._keys.shards(self._log), shard_field(*had, 0) if had else "")
            info, raw, shard = pipe.execute()
        meta = self._ours(raw)
        planned = -1 if meta.epoch is None else meta.epoch
        if had is not None and planned < had.epoch and shard is None:
            gone = (
                f"run {self._run!r} at {self._server.address} came back without the plan of epoch "
                f"{had.epoch + 1} and perhaps without scores before it"
            )
            if meta.log == self._log:
                raise Unreachable(f"{gone}; if a planner remembers them, it brings them back")
            raise StoreUnavailable(f"{gone}: go on from the last checkpoint with --resume")
        self._log, self._process = meta.log, info["run_id"]

    def _complete(self, start: bytes, epoch: int, rank: int, world_size: int) -> Shard:
        """Return a shard, given its first piece."""
        try:
            data = [start]
            size = shard_bytes(start)
            while sum(map(len, data)) < size:
                field = shard_field(epoch, rank, world_size, len(data))
                piece = self._server.redis.hget(self._keys.shards(self._log), field)
                if piece is None:
                    raise ValueError("a piece is missing")
                data.append(piece)
            return decode_shard(b"".join(data))
        except ValueError as error:
            raise Unreachable(
                f"{self._server.address} has no good shard of epoch {epoch + 1} for rank {rank}: {error}"
            ) from None
