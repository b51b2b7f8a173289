"""A rank's line to a run in Redis."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from sadp_dist.errors import StoreUnavailable
from sadp_dist.selection.sharding import Shard
from sadp_dist.store.backends.redis import shards
from sadp_dist.store.backends.redis.keys import Keys, Meta
from sadp_dist.store.backends.redis.lease import holder
from sadp_dist.store.backends.redis.log import ASK, FRAME, lost, pack_ask
from sadp_dist.store.backends.redis.planner import Planner
from sadp_dist.store.backends.redis.reader import Reader
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import Changed, begin
from sadp_dist.store.connection import Connection, Restarted, Unreachable, Waiting
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.service import Service, refuse_if_over
from sadp_dist.store.wire.frames import Frame, encode
from sadp_dist.store.wire.snapshot import Snapshot

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.25
"""Seconds between looks for a shard: they grow with how long it has been waited for."""

T = TypeVar("T")


class _Received(NamedTuple):
    """The shard that a rank got last: what went into it, the rank need not have any more."""

    epoch: int
    rank: int
    world_size: int


class RedisConnection(Connection):
    """Writes to the log, and waits for what the planner makes of it.

    Args:
        server: where the run is; the connection closes it.
        meta: the run's.
        planner: which runs beside it, if one does; the connection stops it.
    """

    def __init__(self, server: Server, meta: Meta, planner: Planner | None = None) -> None:
        self._server, self._planner = server, planner
        self._run, self._dataset_size = meta.run, meta.facts["dataset_size"]
        self._keys = Keys(meta.run)
        self._reader = Reader(server, meta.run)
        self._received: _Received | None
        self._take_up(meta)
        self._asked = 0.0

    def send(self, frames: Sequence[Frame]) -> None:
        self._append(FRAME, (encode(frame, self._origin, self._dataset_size) for frame in frames))

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
                pipe.hget(self._keys.shards(self._generation), shards.field(epoch, rank, world_size, 0))
                pipe.get(self._keys.status)
                pipe.get(self._keys.lease)
                pipe.get(self._keys.server)
                raw, start, status, lease, resting = pipe.execute()
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
                missing = json.loads(status or b"{}").get(f"{epoch}:{world_size}", ())
                return Waiting(tuple(missing), holder(lease) or (resting or b"").decode() or None)
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
        self._take_up(meta)

    def rejoin(self) -> None:
        with self._server.faults():
            raw = self._server.redis.get(self._keys.meta)
        meta = Meta.unpack(raw)
        if meta is None:
            raise lost(raw, self._run, self._server)
        self._take_up(meta)

    def close(self) -> None:
        if self._planner is not None:
            self._planner.stop(timeout=2.0)
        self._server.close()

    def _append(self, field: bytes, values: Iterable[bytes]) -> None:
        """Add entries to the log of a run that has been found to be whole."""
        with self._server.faults(), self._server.redis.pipeline() as pipe:
            # WATCH ties the transaction to one socket: who is found whole is who gets the entries, or nobody.
            # That key changes with the planner alone; meta changes with each snapshot.
            pipe.watch(self._keys.fence)
            self._check(pipe.get(self._keys.meta))
            log = self._keys.log(self._generation)
            pipe.multi()
            for value in values:
                pipe.xadd(log, {field: value}, nomkstream=True)
            added = pipe.execute()
        if None in added:
            raise Unreachable(f"{self._server.address} has just begun the log of run {self._run!r} anew")

    def _read(self, question: Callable[[], T]) -> T:
        answer = question()
        with self._server.faults():
            self._check(self._reader.raw)
        return answer

    def _take_up(self, meta: Meta) -> None:
        self._origin = meta.origin
        self._taken_up = meta.generation, self._server.process
        self._received = None

    @property
    def _generation(self) -> str:
        return self._taken_up[0]

    def _ours(self, raw: bytes | None) -> Meta:
        """What the run's meta says.

        Raises:
            Unreachable, StoreUnavailable: there is no such run, for now or for good.
        """
        meta = Meta.unpack(raw)
        if meta is None:
            raise lost(raw, self._run, self._server)
        if meta.origin != self._origin:
            raise StoreUnavailable(
                f"run {self._run!r} at {self._server.address} is no longer what this job began: another job "
                "has started it anew (give one of the two another run name), or Redis has lost its latest "
                "writes (go on from the last checkpoint with --resume)"
            )
        return meta

    def _check(self, raw: bytes | None) -> Meta:
        """What the run's meta says, of the run as it was, in a Redis that has kept what it acknowledged.

        Raises:
            Restarted: perhaps it has not.
            Unreachable, StoreUnavailable: it has not, or there is no such run, for now or for good.
        """
        meta = self._ours(raw)
        if (meta.generation, self._server.process) != self._taken_up:
            self._take_up_again()
            raise Restarted
        return meta

    def _take_up_again(self) -> None:
        """Go on with another process, or a log begun anew, if only what this rank can send again may be gone.

        That is what it has sent since its last shard. All that went into that plan is there if the plan is,
        or the shard, which was written after it: Redis forgets the latest first.
        """
        had = self._received
        with self._server.redis.pipeline() as pipe:  # one transaction: one process answers
            pipe.info("server")
            pipe.get(self._keys.meta)
            pipe.hget(self._keys.shards(self._generation), shards.field(*had, 0) if had else "")
            info, raw, shard = pipe.execute()
        meta = self._ours(raw)
        planned = -1 if meta.epoch is None else meta.epoch
        if had is not None and planned < had.epoch and shard is None:
            gone = (
                f"run {self._run!r} at {self._server.address} came back without the plan of epoch "
                f"{had.epoch} and perhaps without scores before it"
            )
            if meta.generation == self._generation:
                raise Unreachable(f"{gone}; if a planner remembers them, it brings them back")
            raise StoreUnavailable(f"{gone}: go on from the last checkpoint with --resume")
        self._taken_up = meta.generation, info["run_id"]

    def _complete(self, start: bytes, epoch: int, rank: int, world_size: int) -> Shard:
        """A shard from its first piece on."""
        try:
            data = [start]
            size = shards.encoded_size(start)
            while sum(map(len, data)) < size:
                field = shards.field(epoch, rank, world_size, len(data))
                piece = self._server.redis.hget(self._keys.shards(self._generation), field)
                if piece is None:
                    raise ValueError("a piece is missing")
                data.append(piece)
            return shards.decode(b"".join(data))
        except ValueError as error:
            raise Unreachable(
                f"{self._server.address} has no good shard of epoch {epoch} for rank {rank}: {error}"
            ) from None
