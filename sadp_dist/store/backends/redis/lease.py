"""The lease of a run: one planner at a time may plan it. And what its holder writes: shards and snapshots.

A planner that takes the lease gets a token, a number larger than that of the planner before. It writes the
token under two keys. The lease itself expires after `TTL` seconds unless a thread of the planner renews it.
The `planner` key keeps its value until the next planner comes. Redis compares that key in the transaction of
each write, so a planner that slept while its lease expired changes nothing when it wakes up. Renewing the
lease does not touch the `planner` key, so it never disturbs a transaction on a slow line.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from redis import exceptions
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, WatchError

from sadp_dist.selection.plan import Shard
from sadp_dist.store.backends.redis.log import Replica
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import (
    DAMAGED,
    PIECE,
    Changed,
    Keys,
    entry_number,
    make_current,
    pieces,
    shard_field,
    upload,
)
from sadp_dist.store.engine.frames import encode_shard

TTL = 5.0
"""Seconds after which a lease expires that is not renewed."""
RENEW = 1.0
LOG_LIMIT = 64 << 20
"""Within an epoch, a snapshot is made once the log has this many bytes and is larger than the latest one.
Otherwise a run of a hundred million examples would write 3 GB for every 64 MB of scores."""


class LeaseLost(Exception):
    """Another planner has the run now, or may have it."""


class Lease:
    """The lease of one planner.

    Args:
        server: where the run is.
        keys: of the run.
        token: of the planner.
        value: of the two keys, which have been set.
    """

    def __init__(self, server: Server, keys: Keys, token: int, value: bytes) -> None:
        self.token, self.value = token, value
        self._server, self._keys = server, keys
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="sadp_dist lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise if the lease is known to be over. This does not ask Redis.

        Raises:
            LeaseLost: the lease is over.
        """
        if self._over.is_set():
            raise LeaseLost

    def guard(self, pipe: Pipeline) -> None:
        """Make the transaction that follows fail if another planner has the run by then.

        Raises:
            LeaseLost: another planner has it already.
        """
        self._compare(pipe, self._keys.planner)

    def release(self) -> None:
        """Give the lease back, if Redis can be reached. It is not renewed any more."""
        self._over.set()
        self._thread.join(TTL)
        with suppress(LeaseLost, exceptions.RedisError):  # it expires by itself
            self._write(lambda pipe: pipe.unlink(self._keys.lease))

    def _renew(self) -> None:
        while not self._over.wait(RENEW):
            with suppress(LeaseLost, exceptions.RedisError):  # after a fault it may still be ours
                self._write(lambda pipe: pipe.pexpire(self._keys.lease, int(TTL * 1000)))

    def _write(self, command: Callable[[Pipeline], object]) -> None:
        with self._server.redis.pipeline() as pipe:
            self._compare(pipe, self._keys.lease)
            pipe.multi()
            command(pipe)
            pipe.execute()

    def _compare(self, pipe: Pipeline, key: str) -> None:
        pipe.watch(key)
        if pipe.get(key) != self.value:
            self._over.set()
            raise LeaseLost


def acquire(server: Server, keys: Keys, planner: str) -> Lease | None:
    """Take the lease of a run; None if another planner has it.

    A planner writes the same value under both keys. A lease that differs from the `planner` key is not one: a
    client has overwritten it, or the key was evicted.

    Args:
        server: where the run is.
        keys: of the run.
        planner: name of the planner, for messages.
    """
    with server.redis.pipeline() as pipe:
        pipe.watch(keys.lease, keys.planner)
        lease, former = pipe.get(keys.lease), pipe.get(keys.planner)
        token = _token(former) + 1
        if token > 1 and lease == former:
            return None
        value = json.dumps({"token": token, "nonce": secrets.token_hex(8), "planner": planner}).encode()
        pipe.multi()
        pipe.set(keys.planner, value)
        pipe.set(keys.lease, value, px=int(TTL * 1000))
        try:
            pipe.execute()
        except WatchError:
            return None  # another planner was faster
    return Lease(server, keys, token, value)


def _token(value: bytes | None) -> int:
    """Return the token in the value of the `planner` key; 0 if there is none, or it is damaged."""
    try:
        return 0 if value is None else int(json.loads(value)["token"])
    except DAMAGED:
        return 0


class Publisher:
    """Writes a planner's results, as long as the planner has the lease.

    Every method raises `LeaseLost` if the lease is over, and `Changed` if another process changed the run.

    Args:
        server: where the run is.
        replica: has read the run's log.
        lease: of the planner.
        say: receives one line for each plan.
    """

    def __init__(self, server: Server, replica: Replica, lease: Lease, say: Callable[[str], None]) -> None:
        self._server, self._replica, self._lease, self._say = server, replica, lease, say
        self._waits: dict[str, list[int]] | None = None  # as published

    def settle(self, start: float) -> None:
        """Publish what the ranks wait for; after a new plan, or a long log, make a snapshot.

        Args:
            start: when the planner began with the plan, by `time.perf_counter`.
        """
        replica = self._replica
        assert replica.service is not None and replica.meta is not None
        self._publish()
        engine = replica.service.engine
        epoch = engine.latest_epoch
        planned = epoch is not None and epoch != replica.meta.epoch
        if epoch is not None and planned:
            plan, milliseconds = engine.plan(epoch), (time.perf_counter() - start) * 1000
            self._say(
                f"epoch {epoch + 1} of {engine.run.pruning.run_epochs}, {plan.drawn:,} of "
                f"{plan.dataset_size:,} examples, {milliseconds:.0f} ms"
            )
        snapshot = (replica.meta.pieces - 1) * PIECE  # without the last piece
        if planned or replica.read > max(LOG_LIMIT, snapshot):
            self._save()

    def look(self) -> None:
        """Compare the run's keys with memory, and write again what is missing.

        Raises:
            Changed: the meta is missing, too, or another process changed the run.
        """
        replica = self._replica
        assert replica.meta is not None
        with self._server.redis.pipeline() as pipe:
            pipe.get(replica.keys.meta)
            pipe.hkeys(replica.keys.snapshot(replica.meta.snapshot))
            pipe.get(replica.keys.status)
            raw, pieces, status = pipe.execute()
        if raw != replica.raw:
            raise Changed
        if status is None and self._waits:
            self._waits = None
            self._publish()
        if len(pieces) < replica.meta.pieces:
            self._save()
            self._say(f"{self._server.address} had lost the snapshot; wrote it again")

    def make_room(self) -> None:
        """Free what the state in memory makes superfluous: a Redis without memory refuses a new snapshot.

        The log goes up to the last entry that was applied, and with it the latest snapshot: without one,
        nobody takes the rest of the log for the whole. Until the next snapshot, this planner's memory has the
        only state of the run. Redis refuses none of these commands for memory.
        """
        replica = self._replica
        assert replica.meta is not None
        meta, log = replica.meta, replica.keys.log(replica.meta.log)
        applied = entry_number(replica.position) > meta.entry
        old = self._shards_of_old_plans()

        def commands(pipe: Pipeline) -> None:
            if applied:
                pipe.unlink(replica.keys.snapshot(meta.snapshot))
                pipe.xtrim(log, minid=_after(replica.position), approximate=False)
            if old:
                pipe.hdel(replica.keys.shards(meta.log), *old)

        if applied or old:
            self.write(commands)

    def write(self, commands: Callable[[Pipeline], object]) -> None:
        """Write in one transaction."""
        try:
            with self._server.redis.pipeline() as pipe:
                pipe.watch(self._replica.keys.meta)
                self._lease.guard(pipe)
                if pipe.get(self._replica.keys.meta) != self._replica.raw:
                    raise Changed
                pipe.multi()
                commands(pipe)
                pipe.execute()
        except WatchError as error:
            raise Changed from error

    def _publish(self) -> None:
        replica = self._replica
        assert replica.service is not None
        waits = {f"{epoch}:{size}": list(ranks) for (epoch, size), ranks in replica.service.waits().items()}
        for epoch, rank, size in replica.ready:
            shard = replica.service.shard(epoch, rank, size)
            if shard is not None:  # None if two later plans came at once: nobody waits for this one
                self._publish_shard(shard, rank, size)
        replica.ready.clear()
        if waits != self._waits:
            self.write(lambda pipe: pipe.set(replica.keys.status, json.dumps(waits)))
            self._waits = waits

    def _publish_shard(self, shard: Shard, rank: int, world_size: int) -> None:
        assert self._replica.meta is not None
        key = self._replica.keys.shards(self._replica.meta.log)
        values: Any = {
            shard_field(shard.epoch, rank, world_size, number): piece
            for number, piece in enumerate(pieces(encode_shard(shard)))
        }
        self.write(lambda pipe: pipe.hset(key, mapping=values))

    def _save(self) -> None:
        """Make a snapshot; then trim the log up to it, and delete the shards of old plans."""
        replica = self._replica
        service, meta = replica.service, replica.meta
        assert service is not None and meta is not None
        log, published = replica.keys.log(meta.log), replica.keys.shards(meta.log)
        try:
            name, number = upload(self._server, replica.keys, service)
        except OutOfMemoryError:
            self.make_room()
            name, number = upload(self._server, replica.keys, service)
        meta = replace(
            meta,
            snapshot=name,
            pieces=number,
            position=replica.position,
            saved=time.time(),
            epoch=service.engine.latest_epoch,
        )
        old = self._shards_of_old_plans()

        def also(pipe: Pipeline) -> None:
            pipe.xtrim(log, minid=_after(replica.position), approximate=False)
            if old:
                pipe.hdel(published, *old)

        replica.raw = make_current(self._server, replica.keys, meta, replica.raw, also, self._lease.guard)
        replica.meta, replica.read = meta, 0

    def _shards_of_old_plans(self) -> list[bytes]:
        """The fields of the hash of shards that no rank asks for any more."""
        replica = self._replica
        assert replica.service is not None and replica.meta is not None
        fields: list[bytes] = self._server.redis.hkeys(replica.keys.shards(replica.meta.log))
        return [f for f in fields if not replica.service.engine.has_plan(int(f.split(b":")[0]))]


def _after(entry: str) -> str:
    """Return the smallest id of an entry after one."""
    milliseconds, count = entry_number(entry)
    return f"{milliseconds}-{count + 1}"
