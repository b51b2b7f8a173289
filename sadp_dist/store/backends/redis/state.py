"""A run's whole state in Redis: written in pieces beside the old one, taken up in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from redis.client import Pipeline
from redis.exceptions import WatchError

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.keys import Keys, Meta, new_name
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.engine.service import Service
from sadp_dist.store.wire.snapshot import Snapshot

PIECE = 4 << 20
"""Bytes of a value at most: a line of 1 MB/s carries that well within the time that a call may take."""
UNUSED_FOR = 3600
"""Seconds after which Redis forgets a snapshot that was never taken up."""
START = "0-0"


class Changed(Exception):
    """Somebody else has written to the run since it was looked at."""


def pieces(data: bytes) -> Iterator[memoryview]:
    """Bytes, in one piece or several, at least one."""
    view = memoryview(data)
    for start in range(0, max(len(data), 1), PIECE):
        yield view[start : start + PIECE]


def upload(server: Server, keys: Keys, service: Service) -> tuple[str, int]:
    """Write a snapshot under a name of its own, to be taken up by `adopt`; returns name and pieces."""
    name, number = new_name(), 0
    for number, piece in enumerate(pieces(service.snapshot().to_bytes()), start=1):
        with server.redis.pipeline() as pipe:
            pipe.hset(keys.snapshot(name), str(number - 1), piece)
            pipe.expire(keys.snapshot(name), UNUSED_FOR)
            pipe.execute()
    return name, number


def download(server: Server, keys: Keys, meta: Meta) -> Snapshot | None:
    """The snapshot that `meta` names; None if it has been replaced meanwhile.

    Raises:
        StoreUnavailable: it is damaged.
    """
    found: list[bytes] = []
    for number in range(meta.pieces):
        piece = server.redis.hget(keys.snapshot(meta.snapshot), str(number))
        if piece is None:
            return None
        found.append(piece)
    try:
        return Snapshot.from_bytes(b"".join(found), f"the snapshot of run {meta.run!r} at {server.address}")
    except UsageError as error:
        raise StoreUnavailable(
            f"{error}: remove the run with sadp-dist rm and go on from its last checkpoint with --resume"
        ) from None


def adopt(
    server: Server,
    keys: Keys,
    meta: Meta,
    over: bytes | None,
    also: Callable[[Pipeline], None],
    guard: Callable[[Pipeline], None] = lambda pipe: None,
) -> bytes:
    """Make `meta` with its uploaded snapshot the run's state, if that still is what was read.

    Args:
        server: where.
        keys: of the run.
        meta: the state.
        over: what the run's meta was when it was read.
        also: what else is to be in the transaction.
        guard: watches more, and raises if the transaction must not be.

    Returns:
        What the run's meta is now.

    Raises:
        Changed: it is another one.
    """
    packed = meta.pack()
    try:
        with server.redis.pipeline() as pipe:
            pipe.watch(keys.meta)
            guard(pipe)
            if pipe.get(keys.meta) != over:
                raise Changed
            pipe.multi()
            pipe.set(keys.meta, packed)
            pipe.persist(keys.snapshot(meta.snapshot))
            old = Meta.unpack(over)
            if old is not None:
                pipe.unlink(keys.snapshot(old.snapshot))
            also(pipe)
            pipe.execute()
    except (Changed, WatchError) as error:  # after any other fault it may have been done all the same
        server.redis.unlink(keys.snapshot(meta.snapshot))
        raise Changed from error
    return packed


def begin(
    server: Server,
    keys: Keys,
    service: Service,
    over: bytes | None,
    guard: Callable[[Pipeline], None] = lambda pipe: None,
) -> tuple[Meta, bytes]:
    """Begin a log with a service's state, in the place of the one that there was.

    Raises:
        Changed: there is another one than was read.
    """
    now = time.time()
    old = Meta.unpack(over)
    snapshot, number = upload(server, keys, service)
    run = service.engine.run
    meta = Meta(
        run=run.name,
        facts=run.facts(),
        origin=service.origin,
        generation=new_name(),
        created=now if old is None else old.created,
        snapshot=snapshot,
        pieces=number,
        position=START,
        saved=now,
        epoch=service.engine.latest_epoch,
    )

    def also(pipe: Pipeline) -> None:
        pipe.xgroup_create(keys.log(meta.generation), "planner-0", START, mkstream=True)
        pipe.unlink(keys.status)
        if old is not None:
            pipe.unlink(keys.log(old.generation), keys.shards(old.generation))

    return meta, adopt(server, keys, meta, over, also, guard)
