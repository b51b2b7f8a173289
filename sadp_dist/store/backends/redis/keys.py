"""The names of a run's keys in Redis, and `Meta`, the value that says which of them are current."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from sadp_dist.errors import StoreUnavailable

REMOVED = b'{"removed": true}'
"""The `meta` of a removed run, for a while, so that its planner does not restore the run."""
REMOVED_FOR = 3600

VERSION = 2


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
        except (ValueError, TypeError, KeyError, AttributeError):
            return []
        return [self.log(log), self.shards(log), self.snapshot(snapshot)]


def shard_field(epoch: int, rank: int, world_size: int, piece: int) -> str:
    """The field of the hash of shards that has one piece of a shard."""
    return f"{epoch}:{world_size}:{rank}:{piece}"


class Unreadable(StoreUnavailable):
    """A run in Redis that this release cannot read."""


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
            if version == VERSION:
                return cls(**fields)
        except (ValueError, AttributeError, KeyError, TypeError):
            pass
        raise Unreadable(
            f"a run in this Redis is damaged or of another release of sadp_dist (version {version!r}, here "
            f"{VERSION}): use that release, or remove the run with sadp-dist rm"
        )

    @property
    def entry(self) -> tuple[int, int]:
        """The position, to compare."""
        return entry_number(self.position)


def entry_number(entry: str) -> tuple[int, int]:
    """Return the id of a log's entry as numbers that grow along the log."""
    milliseconds, _, count = entry.partition("-")
    return int(milliseconds), int(count)
