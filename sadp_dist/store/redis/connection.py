"""A rank's line to a run in Redis."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.selection.sharding import Shard
from sadp_dist.store.connection import Connection, Restarted, Unreachable, Waiting
from sadp_dist.store.engine import Engine
from sadp_dist.store.frames import Frame, encode
from sadp_dist.store.redis import shards
from sadp_dist.store.redis.keys import Keys, Meta
from sadp_dist.store.redis.lease import holder
from sadp_dist.store.redis.log import ASK, FRAME, Replica, lost, pack_ask
from sadp_dist.store.redis.planner import Planner, shard_field
from sadp_dist.store.redis.server import Server
from sadp_dist.store.redis.state import Changed, begin
from sadp_dist.store.run import differences
from sadp_dist.store.service import Service, refuse_if_over
from sadp_dist.store.snapshot import Snapshot
from sadp_dist.store.stats import StoreStats

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.25
"""Seconds between looks for a shard: they grow with how long it has been waited for."""


class RedisConnection(Connection):
    """Writes to the log, and waits for what the planner makes of it.

    Args:
        server: where the run is; the connection closes it.
        meta: the run's.
        planner: which runs beside it, if one does; the connection stops it.
    """

    def __init__(self, server: Server, meta: Meta, planner: Planner | None = None) -> None:
        self._server, self._planner = server, planner
        self._run, self._facts = meta.run, meta.facts
        self._keys = Keys(meta.run)
        self._replica = Replica(server, meta.run)
        self._lock = threading.Lock()
        self._received = -1  # epoch of the latest plan
        self._take_up(meta)
        self._asked = 0.0

    def send(self, frames: Sequence[Frame]) -> None:
        log, origin = self._keys.log(self._generation), self._origin
        with self._server.faults():
            with self._server.redis.pipeline(transaction=False) as pipe:
                for frame in frames:
                    data = encode(frame, origin, self._facts["dataset_size"])
                    pipe.xadd(log, {FRAME: data}, nomkstream=True)
                pipe.get(self._keys.meta)
                *entries, raw = pipe.execute()
            self._check(raw)
        if None in entries:
            raise Unreachable(f"{self._server.address} has just begun the log of run {self._run!r} anew")

    def ask(self, epoch: int, rank: int, world_size: int) -> None:
        with self._server.faults(), self._server.redis.pipeline() as pipe:
            # WATCH ties the transaction to one socket: what answers now is what gets the entry, or it fails.
            pipe.watch(self._keys.meta)
            raw = pipe.get(self._keys.meta)
            self._check(raw)
            self._refuse_if_over(raw, epoch)
            pipe.multi()
            pipe.xadd(
                self._keys.log(self._generation), {ASK: pack_ask(epoch, rank, world_size)}, nomkstream=True
            )
            pipe.execute()
        self._asked = time.monotonic()

    def shard(self, epoch: int, rank: int, world_size: int, patience: float) -> Shard | Waiting:
        deadline = time.monotonic() + patience
        while True:
            with self._server.faults(), self._server.redis.pipeline(transaction=False) as pipe:
                pipe.get(self._keys.meta)
                pipe.hget(self._keys.shards(self._generation), shard_field(epoch, rank, world_size, 0))
                pipe.get(self._keys.status)
                pipe.get(self._keys.lease)
                raw, start, status, lease = pipe.execute()
                self._check(raw)
                if start is not None:
                    shard = self._complete(start, epoch, rank, world_size)
                    self._received = max(self._received, epoch)
                    return shard
                self._refuse_if_over(raw, epoch)
            if self._planner is not None:
                self._planner.check()
            now = time.monotonic()
            if now >= deadline:
                missing = json.loads(status or b"{}").get(f"{epoch}:{world_size}", ())
                return Waiting(tuple(missing), holder(lease))
            pause = min(max(FIRST_LOOK, (now - self._asked) / 10), LONGEST_LOOK)
            time.sleep(min(pause, deadline - now))

    def stats(self) -> StoreStats:
        service = self._up_to_date()
        assert self._replica.meta is not None
        with self._server.faults():
            planner = holder(self._server.redis.get(self._keys.lease))
        return service.stats(planner, self._replica.meta.saved)

    def top(self, k: int, lowest: bool = False) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return self._up_to_date().engine.top(k, lowest)

    def scores(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._up_to_date().engine.scores(indices)

    def snapshot(self) -> Snapshot:
        return self._up_to_date().snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        unlike = differences(snapshot.run.facts(), self._facts)
        if unlike:
            raise UsageError(f"the saved store is of another run: {unlike}")
        origin = secrets.randbits(64)
        service = Service(Engine(replace(snapshot.run, name=self._run)), origin)
        service.restore(snapshot, origin)
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

    def _up_to_date(self) -> Service:
        with self._server.faults():
            self._replica.follow()
            self._replica.ready.clear()  # that is the planner's business
            self._check(self._replica.raw)
        assert self._replica.service is not None
        return self._replica.service

    def _take_up(self, meta: Meta) -> None:
        with self._lock:
            self._origin, self._generation = meta.origin, meta.generation
            self._process = self._server.process
            self._received = -1

    def _check(self, raw: bytes | None) -> None:
        """Look whether the run is the one it was, in a Redis that has kept what it acknowledged.

        Raises:
            Restarted: perhaps it has not; once.
            Unreachable, StoreUnavailable: there is no such run, for now or for good.
        """
        meta = Meta.unpack(raw)
        if meta is None:
            raise lost(raw, self._run, self._server)
        if meta.origin != self._origin:
            raise StoreUnavailable(
                f"run {self._run!r} at {self._server.address} was started anew by another job; "
                "choose another run name, or stop one of the two"
            )
        planned = -1 if meta.epoch is None else meta.epoch
        if meta.generation != self._generation and planned < self._received:
            raise StoreUnavailable(
                f"run {self._run!r} at {self._server.address} came back without the plan of epoch "
                f"{self._received} and the scores before it: go on from the last checkpoint with --resume"
            )
        with self._lock:
            as_before = (self._generation, self._process) == (meta.generation, self._server.process)
            self._generation, self._process = meta.generation, self._server.process
        if not as_before:
            raise Restarted

    def _refuse_if_over(self, raw: bytes | None, epoch: int) -> None:
        meta = Meta.unpack(raw)
        refuse_if_over(epoch, None if meta is None else meta.epoch, self._run)

    def _complete(self, start: bytes, epoch: int, rank: int, world_size: int) -> Shard:
        """A shard from its first piece on."""
        try:
            data = [start]
            size = shards.encoded_size(start)
            while sum(map(len, data)) < size:
                field = shard_field(epoch, rank, world_size, len(data))
                piece = self._server.redis.hget(self._keys.shards(self._generation), field)
                if piece is None:
                    raise ValueError("a piece is missing")
                data.append(piece)
            return shards.decode(b"".join(data))
        except ValueError as error:
            raise Unreachable(
                f"{self._server.address} has no good shard of epoch {epoch} for rank {rank}: {error}"
            ) from None


class RedisReader(RedisConnection):
    """A line that only asks. It follows a run through whatever becomes of it, having nothing to lose."""

    def _check(self, raw: bytes | None) -> None:
        pass
