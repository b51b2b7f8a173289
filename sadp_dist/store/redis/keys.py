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
        fence: how many have planned.
        server: a planner outside the job, while it lives.
        status: who waits for whom.
    """

    def __init__(self, run: str) -> None:
        self._run = f"sadp_dist:{{{quote(run, safe='')}}}"
        self.meta, self.lease, self.fence, self.server, self.status = (
            f"{self._run}:{name}" for name in ("meta", "lease", "fence", "server", "status")
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
            StoreUnavailable: it is of another version.
        """
        if data is None or data == REMOVED:
            return None
        try:
            fields = json.loads(data)
            version = fields.pop("version")
        except (ValueError, AttributeError, KeyError):
            version = "unknown"
        if version != VERSION:
            raise StoreUnavailable(
                f"a run in this Redis is of version {version}, {VERSION} is needed: use the sadp_dist that "
                "made it, or another database"
            )
        return cls(**fields)

    @property
    def entry(self) -> tuple[int, int]:
        """The position, to compare."""
        return entry_number(self.position)


def entry_number(entry: str) -> tuple[int, int]:
    """The id of a log's entry as numbers that grow with it."""
    milliseconds, _, count = entry.partition("-")
    return int(milliseconds), int(count)
