"""A run in Redis: the names of its keys, `Meta`, which says what is current, and its snapshots.

A snapshot is uploaded in pieces, and made current in one transaction.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, WatchError

from sadp_dist.errors import UsageError
from sadp_dist.store.backends.redis.server import Server, Unreadable
from sadp_dist.store.engine.service import Service
from sadp_dist.store.engine.snapshot import NotKnownHere, Snapshot

REMOVED = b'{"removed": true}'
"""The `meta` of a removed run, for a while, so that its planner does not restore the run."""
REMOVED_FOR = 3600
VERSION = 2
PIECE = 4 << 20
"""Largest value in bytes: a line of 1 MB/s carries it well within the timeout of a call."""
UNUSED_FOR = 3600
"""Seconds after which Redis deletes a snapshot that was uploaded but never made current."""
START = "0-0"
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
"""What reading JSON raises that another client has written."""


class Keys:
    """The keys of one run. A Redis Cluster places a key by the part in {}: all keys of a run on one node.

    Attributes:
        meta: `Meta`.
        lease: the planner that has the run; expires unless the planner renews it.
        planner: the planner that last had the lease, with its token; see `lease`.
        server: a planner outside the job; expires unless the planner renews it.
        status: which ranks are waited for.
        beginning: a rank is beginning the run; expires.
    """

    def __init__(self, run: str) -> None:
        self._run = f"sadp_dist:{{{quote(run, safe='')}}}"
        self.meta, self.lease, self.planner, self.server, self.status, self.beginning = (
            f"{self._run}:{name}" for name in ("meta", "lease", "planner", "server", "status", "beginning")
        )

    def log(self, name: str) -> str:
        """The key of a stream: frames and requests for shards, in the order in which they count."""
        return f"{self._run}:log:{name}"

    def shards(self, log: str) -> str:
        """The key of a hash: the shards of the latest plans, which belong to a log; see `shard_field`."""
        return f"{self._run}:shards:{log}"

    def snapshot(self, name: str) -> str:
        """The key of a hash: a snapshot of the run, in pieces."""
        return f"{self._run}:snapshot:{name}"

    def named_in(self, raw: bytes) -> list[str]:
        """The keys that a run's meta names, as far as it can be read."""
        try:
            fields = json.loads(raw)
            log, snapshot = fields.get("log", fields.get("generation")), fields["snapshot"]
        except DAMAGED:
            return []
        return [self.log(log), self.shards(log), self.snapshot(snapshot)]


def shard_field(epoch: int, rank: int, world_size: int, piece: int) -> str:
    """The field of the hash of shards that has one piece of a shard."""
    return f"{epoch}:{world_size}:{rank}:{piece}"


def new_name() -> str:
    """Return a name that nobody else uses."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Meta:
    """What a run is, and where its state is: a snapshot, and the entries of the log after it.

    Attributes:
        run: its name.
        facts: `Run.facts()`.
        token: of the run; see `engine.service`.
        log: name of the log; a new one when the log is written again.
        created: when the run began, in seconds since 1970.
        snapshot: name of the snapshot.
        pieces: number of its pieces.
        position: id of the last entry of the log that is in the snapshot.
        saved: when the snapshot was made, in seconds since 1970.
        epoch: of the latest plan in the snapshot.
    """

    run: str
    facts: dict[str, Any]
    token: int
    log: str
    created: float
    snapshot: str
    pieces: int
    position: str
    saved: float
    epoch: int | None

    def pack(self) -> bytes:
        return json.dumps({"version": VERSION, **asdict(self)}).encode()

    @classmethod
    def unpack(cls, data: bytes | None) -> Meta | None:
        """Return what `pack` wrote; None if there is no run.

        Raises:
            Unreadable: it has another version, or is damaged.
        """
        if data is None or data == REMOVED:
            return None
        version = "unknown"
        try:
            fields = json.loads(data)
            version = fields.pop("version")
            if version == VERSION and (meta := cls(**fields))._possible:
                return meta
        except DAMAGED:
            pass
        raise Unreadable(
            f"a run in this Redis is damaged or of another release of sadp_dist (version {version!r}, here "
            f"{VERSION}): use that release, or remove the run with sadp-dist rm"
        )

    @property
    def _possible(self) -> bool:
        """Whether every field has a value that a planner may write."""
        size, method = self.facts.get("dataset_size"), self.facts.get("pruning.method")
        return (
            all(isinstance(text, str) for text in (self.run, self.log, self.snapshot, self.position))
            and all(type(number) is int for number in (self.token, self.pieces, size, self.epoch or 0))
            and isinstance(method, str | None)
            and math.isfinite(self.created)
            and math.isfinite(self.saved)
            and re.fullmatch(r"\d{1,20}-\d{1,20}", self.position) is not None
        )

    @property
    def entry(self) -> tuple[int, int]:
        """The position, to compare."""
        return entry_number(self.position)


def entry_number(entry: str) -> tuple[int, int]:
    """Return the id of a log's entry as numbers that grow along the log."""
    milliseconds, _, count = entry.partition("-")
    return int(milliseconds), int(count)


def holder(value: bytes | None) -> str | None:
    """Return the name of the planner in the value of a lease; None without a lease, or if it is damaged."""
    try:
        return None if value is None else str(json.loads(value)["planner"])
    except DAMAGED:
        return None


def missing_ranks(status: bytes | None, epoch: int, world_size: int) -> tuple[int, ...]:
    """Return the ranks that a planner waits for, from the value of `Keys.status`."""
    try:
        return tuple(map(int, json.loads(status or b"{}").get(f"{epoch}:{world_size}", ())))
    except DAMAGED:
        return ()


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
    try:
        for number, piece in enumerate(pieces(service.snapshot().to_bytes()), start=1):
            with server.redis.pipeline() as pipe:
                pipe.hset(keys.snapshot(name), str(number - 1), piece)
                pipe.expire(keys.snapshot(name), UNUSED_FOR)
                pipe.execute()
    except OutOfMemoryError:  # what is there takes the memory that the next try needs
        server.redis.unlink(keys.snapshot(name))
        raise
    return name, number


def has_snapshot(server: Server, keys: Keys, meta: Meta) -> bool:
    """Whether every piece of the snapshot that `meta` names is in Redis."""
    return len(server.redis.hkeys(keys.snapshot(meta.snapshot))) >= meta.pieces


def download(server: Server, keys: Keys, meta: Meta) -> Snapshot | None:
    """Return the snapshot that `meta` names; None if it has just been replaced.

    Raises:
        Unreadable: it is damaged.
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
        raise Unreadable(str(error)) from None
    except UsageError as error:
        raise Unreadable(
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
