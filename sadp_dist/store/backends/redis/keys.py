"""What the keys of a run are called, and the one that tells where the others are."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from sadp_dist.errors import StoreUnavailable

REMOVED = b'{"removed": true}'
"""Stands in a removed run's `meta` for a while, so that its planner does not take it for a loss."""
REMOVED_FOR = 3600

VERSION = 1


class Keys:
    """The keys of one run. What is in {} decides where a Redis Cluster puts a key: all on one node.

    Attributes:
        meta: `Meta`.
        lease: who plans, while it lives.
        fence: who has planned last, and how many before.
        server: a planner outside the job, while it lives.
        status: who waits for whom.
        beginning: a rank begins the run, while it lives.
    """

    def __init__(self, run: str) -> None:
        self._run = f"sadp_dist:{{{quote(run, safe='')}}}"
        self.meta, self.lease, self.fence, self.server, self.status, self.beginning = (
            f"{self._run}:{name}" for name in ("meta", "lease", "fence", "server", "status", "beginning")
        )

    def log(self, generation: str) -> str:
        """A stream: frames and asks, in the order in which they count."""
        return f"{self._run}:log:{generation}"

    def shards(self, generation: str) -> str:
        """A hash: the shards of the latest plans."""
        return f"{self._run}:shards:{generation}"

    def snapshot(self, name: str) -> str:
        """A hash: a state of the run, in pieces."""
        return f"{self._run}:snapshot:{name}"

    def named_in(self, raw: bytes) -> list[str]:
        """The keys that a run's meta names, as far as it can be read."""
        try:
            fields = json.loads(raw)
            generation, snapshot = fields["generation"], fields["snapshot"]
        except (ValueError, TypeError, KeyError):
            return []
        return [self.log(generation), self.shards(generation), self.snapshot(snapshot)]


class Unreadable(StoreUnavailable):
    """What Redis has of a run is not what this release writes."""


def new_name() -> str:
    """A name that nobody else takes."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Meta:
    """What a run is and where it stands: its state is a snapshot and what the log holds behind it.

    Attributes:
        run: its name.
        facts: `Run.facts()`.
        origin: 64 random bits since the run began, or was last replaced by a saved store.
        generation: of the log; another one when the log was begun anew.
        created: when, in seconds since 1970.
        snapshot: name of the snapshot.
        pieces: how many it has.
        position: id of the last entry of the log that is in the snapshot.
        saved: when it was made, in seconds since 1970.
        epoch: of the latest plan in it.
    """

    run: str
    facts: dict[str, Any]
    origin: int
    generation: str
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
        """What `pack` wrote; None where there is no run.

        Raises:
            Unreadable: it is of another version, or damaged.
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
    """The id of a log's entry as numbers that grow with it."""
    milliseconds, _, count = entry.partition("-")
    return int(milliseconds), int(count)
