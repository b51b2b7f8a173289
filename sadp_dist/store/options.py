"""What a person can set about where the scores live, beside the address."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError

PLANNERS = ("auto", "server", "rank0")
LONGEST = 365 * 86400.0
"""Seconds: a timeout above counts as this one, for not every clock can wait longer."""


@dataclass(frozen=True)
class StoreOptions:
    """How a run uses a store that lives in another process; the embedded store needs none of them.

    Attributes:
        planner: who plans the epochs of a run in Redis. "server": a `sadp-dist serve`; "rank0": a thread of
            rank 0; "auto": a server where one runs, else that thread, which also stands in for a server that
            is gone.
        snapshot: folder for the snapshots from which a Ray actor comes back, on any path that fsspec reads;
            None is a folder for temporary files, which a lost machine takes along.
        timeout: seconds that a rank waits for the store and for the other ranks before it gives up.

    Raises:
        UsageError: a value out of its range.
    """

    planner: str = "auto"
    snapshot: str | None = None
    timeout: float = 1800.0

    def __post_init__(self) -> None:
        check_choice("planner", self.planner, PLANNERS)
        if self.snapshot is not None and not isinstance(self.snapshot, str):
            raise UsageError(f"snapshot={self.snapshot!r} is not the path of a folder: a string")
        if not isinstance(self.timeout, Real) or not 0 < self.timeout < float("inf"):
            raise UsageError(f"timeout={self.timeout!r} is not a number of seconds above 0")
        object.__setattr__(self, "timeout", min(float(self.timeout), LONGEST))
