"""What a planner writes: shards, who waits for whom, snapshots."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from redis.client import Pipeline
from redis.exceptions import WatchError

from sadp_dist.selection.sharding import Shard
from sadp_dist.store.backends.redis import shards
from sadp_dist.store.backends.redis.keys import entry_number
from sadp_dist.store.backends.redis.lease import Lease
from sadp_dist.store.backends.redis.log import Replica
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import PIECE, Changed, adopt, pieces, upload

LOG_LIMIT = 64 << 20
"""Bytes of log before which no snapshot is made in the middle of an epoch. Nor is one while the latest is
larger than the log: of a hundred million examples 3 GB would be written anew for every 64 MB of scores."""


class Publisher:
    """Writes what a planner has made of a run; nothing once the lease is another one's.

    Every method raises `LeaseLost` or `Changed` where the lease is over, or the run no longer what was read.

    Args:
        server: where the run is.
        replica: has read its log.
        lease: the planner's.
        say: is told of each plan in one line.
    """

    def __init__(self, server: Server, replica: Replica, lease: Lease, say: Callable[[str], None]) -> None:
        self._server, self._replica, self._lease, self._say = server, replica, lease, say
        self._waits: dict[str, list[int]] | None = None  # as published

    def settle(self, start: float) -> None:
        """Publish what the ranks wait for; after a new plan, or a long log, make a snapshot.

        Args:
            start: when the planner began to make it, by `time.perf_counter`.
        """
        replica = self._replica
        assert replica.service is not None and replica.meta is not None
        self._publish()
        engine = replica.service.engine
        epoch = engine.latest_epoch
        planned = epoch is not None and epoch != replica.meta.epoch
        if epoch is not None and planned:
            plan, milliseconds = engine.plan(epoch), (time.perf_counter() - start) * 1000
            self._say(f"epoch {epoch}, {plan.drawn:,} of {plan.dataset_size:,}, {milliseconds:.0f} ms")
        snapshot = (replica.meta.pieces - 1) * PIECE  # all but the last piece
        if planned or replica.read > max(LOG_LIMIT, snapshot):
            self._save()

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
            if shard is not None:  # else two later plans were in what was just read, and nobody waits for it
                self._publish_shard(shard, rank, size)
        replica.ready.clear()
        if waits != self._waits:
            self.write(lambda pipe: pipe.set(replica.keys.status, json.dumps(waits)))
            self._waits = waits

    def _publish_shard(self, shard: Shard, rank: int, world_size: int) -> None:
        assert self._replica.meta is not None
        key = self._replica.keys.shards(self._replica.meta.generation)
        values: Any = {
            shards.field(shard.epoch, rank, world_size, number): piece
            for number, piece in enumerate(pieces(shards.encode(shard)))
        }
        self.write(lambda pipe: pipe.hset(key, mapping=values))

    def _save(self) -> None:
        """Make a snapshot; then drop what it holds from the log, and the shards of plans that are gone."""
        replica = self._replica
        service, meta = replica.service, replica.meta
        assert service is not None and meta is not None
        log, published = replica.keys.log(meta.generation), replica.keys.shards(meta.generation)
        name, number = upload(self._server, replica.keys, service)
        meta = replace(
            meta,
            snapshot=name,
            pieces=number,
            position=replica.position,
            saved=time.time(),
            epoch=service.engine.latest_epoch,
        )
        old = [
            field
            for field in self._server.redis.hkeys(published)
            if not service.engine.has_plan(int(field.split(b":")[0]))
        ]

        def also(pipe: Pipeline) -> None:
            milliseconds, count = entry_number(replica.position)
            pipe.xtrim(log, minid=f"{milliseconds}-{count + 1}", approximate=False)
            if old:
                pipe.hdel(published, *old)

        replica.raw = adopt(self._server, replica.keys, meta, replica.raw, also, self._lease.guard)
        replica.meta, replica.read = meta, 0
