"""The options of a store that runs in another process."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sadp_dist.sections import Section

LONGEST = 365 * 86400.0
"""Seconds: a longer timeout counts as this one, since not every clock can wait longer."""


class StoreOptions(Section):
    """How a run uses a store that runs in another process; the embedded store needs none of these.

    Attributes:
        planner: where the epochs of a run in Redis are planned. "server": in `sadp-dist serve`; "rank0": in a
            thread of rank 0; "auto": in a server if one runs, else in that thread, which also replaces a
            server that stopped.
        snapshot: folder for the snapshots from which a Ray actor recovers, on any path that fsspec reads.
            None: a folder for temporary files, which is lost with its machine.
        timeout: seconds that a rank waits for the store and for the other ranks before it gives up.
    """

    planner: Literal["auto", "server", "rank0"] = "auto"
    snapshot: str | None = None
    timeout: Annotated[float, Field(gt=0)] = 1800.0

    @field_validator("timeout")
    @classmethod
    def _at_most_a_year(cls, timeout: float) -> float:
        return min(timeout, LONGEST)
