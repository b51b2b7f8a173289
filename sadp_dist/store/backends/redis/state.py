"""Snapshots of a run in Redis: uploaded in pieces, made current in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from redis.client import Pipeline
from redis.exceptions import WatchError

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.keys import Keys, Meta, new_name
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.engine.service import Service
from sadp_dist.store.engine.snapshot import NotKnownHere, Snapshot

PIECE = 4 << 20
"""Largest value in bytes: a line of 1 MB/s carries it well within the timeout of a call."""
UNUSED_FOR = 3600
"""Seconds after which Redis deletes a snapshot that was uploaded but never made current."""
START = "0-0"


class Changed(Exception):
    """Another process has written to the run since it was read."""


def pieces(data: bytes) -> Iterator[memoryview]:
    """Yield bytes in pieces of at most `PIECE`, at least one piece."""
    view = memoryview(data)
    for start in range(0, max(len(data), 1), PIECE):
        yield view[start : start + PIECE]


def upload(server: Server, keys: Keys, service: Service) -> tuple[str, int]:
    """Upload a snapshot under a new name, for `make_current`; return the name and the number of pieces."""
    name, number = new_name(), 0
    for number, piece in enumerate(pieces(service.snapshot().to_bytes()), start=1):
        with server.redis.pipeline() as pipe:
            pipe.hset(keys.snapshot(name), str(number - 1), piece)
            pipe.expire(keys.snapshot(name), UNUSED_FOR)
            pipe.execute()
    return name, number


def download(server: Server, keys: Keys, meta: Meta) -> Snapshot | None:
    """Return the snapshot that `meta` names; None if it has just been replaced.

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
    except NotKnownHere as error:
        raise StoreUnavailable(str(error)) from None
    except UsageError as error:
        raise StoreUnavailable(
            f"{error}: remove the run with sadp-dist rm and go on from its last checkpoint with --resume"
        ) from None


def make_current(
    server: Server,
    keys: Keys,
    meta: Meta,
    over: bytes | None,
    also: Callable[[Pipeline], None],
    guard: Callable[[Pipeline], None] = lambda pipe: None,
) -> bytes:
    """Make `meta` and its uploaded snapshot current, unless another process has changed the run.

    Args:
        server: where the run is.
        keys: of the run.
        meta: the new meta.
        over: the run's meta as it was read.
        also: adds more commands to the transaction.
        guard: watches more keys, and raises if the transaction must not happen.

    Returns:
        The run's meta as it is in Redis now.

    Raises:
        Changed: the run's meta is not `over` any more.
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
    except (Changed, WatchError) as error:  # after any other fault the transaction may have happened
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
    """Begin a new log with a service's state, in place of the run's present log, if there is one.

    Raises:
        Changed: the run's meta is not `over` any more.
    """
    now = time.time()
    old = Meta.unpack(over)
    snapshot, number = upload(server, keys, service)
    run = service.engine.run
    meta = Meta(
        run=run.name,
        facts=run.facts(),
        token=service.token,
        log=new_name(),
        created=now if old is None else old.created,
        snapshot=snapshot,
        pieces=number,
        position=START,
        saved=now,
        epoch=service.engine.latest_epoch,
    )

    def also(pipe: Pipeline) -> None:
        pipe.xgroup_create(keys.log(meta.log), "planner-0", START, mkstream=True)
        pipe.unlink(keys.status)
        if old is not None:
            pipe.unlink(keys.log(old.log), keys.shards(old.log))

    return meta, make_current(server, keys, meta, over, also, guard)
