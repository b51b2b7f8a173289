"""A check: a function that examines one thing, with an explanation and a fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sadp_dist.doctor.options import DoctorOptions

PATIENCE = 30.0
"""Seconds until a check is considered broken."""


class Status(StrEnum):
    """The result of a check.

    Attributes:
        OK: it works.
        ABSENT: not installed, and nothing that the user asked for needs it.
        SKIPPED: not checked, because something that it needs is broken or absent.
        WARNING: training works, but slower or less safely than it could.
        BROKEN: something that the user asked for does not work.
    """

    OK = "ok"
    ABSENT = "absent"
    SKIPPED = "skipped"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        name: of the check.
        state: its result.
        found: what the check saw, in one line.
        mend: the command or change that fixes the problem; None if there is none.
    """

    name: str
    state: Status
    found: str
    mend: str | None = None


Look = Callable[["DoctorOptions"], tuple[Status, str] | tuple[Status, str, str]]
"""Returns the status, what was found, and optionally a more exact fix than that of the check."""


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Attributes:
        name: a few words, unique.
        meaning: what is checked, and what fails if it is wrong; Markdown.
        mending: what to type or change, with placeholders in capitals. A finding may give a more exact fix.
        look: the function that checks it.
        applies: whether the check makes sense for the user's options.
        needs: names of the checks that must pass first.
        patience: seconds until the check is considered broken.
    """

    name: str
    meaning: str
    mending: str
    look: Look
    applies: Callable[[DoctorOptions], bool]
    needs: tuple[str, ...] = ()
    patience: float = PATIENCE


CHECKS: list[Check] = []
"""All checks, in the order in which they run."""


def check(
    name: str,
    meaning: str,
    mending: str,
    applies: Callable[[DoctorOptions], bool] = lambda options: True,
    needs: tuple[str, ...] = (),
    patience: float = PATIENCE,
) -> Callable[[Look], Look]:
    """Register the decorated function as a check."""

    def register(look: Look) -> Look:
        CHECKS.append(Check(name, meaning, mending, look, applies, needs, patience))
        return look

    return register
