"""A check: a small function that looks at one thing, with what it means and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sadp_dist.doctor.options import DoctorOptions

PATIENCE = 30.0
"""Seconds that a check may take."""


class Status(StrEnum):
    """How a thing is.

    Attributes:
        OK: as it should be.
        ABSENT: not there, and nothing that was asked for needs it.
        SKIPPED: not looked at, since something that this needs is broken or absent.
        WARNING: training works, but not as well or as safely as it could.
        BROKEN: what was asked for does not work.
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
        state: how it is.
        found: what is there, on one line.
        mend: the command or the change that mends it; None where nothing is wrong.
    """

    name: str
    state: Status
    found: str
    mend: str | None = None


Look = Callable[["DoctorOptions"], tuple[Status, str] | tuple[Status, str, str]]
"""State, what was found, and perhaps how to mend just that."""


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: a few words, unique.
        meaning: what it is, and what goes wrong where it is not as it should be; Markdown.
        mending: what to type or change, with capitals where a value goes; a finding may say it more exactly.
        look: looks at it.
        applies: whether there is anything to look at.
        needs: names of checks without which this one cannot look.
        patience: seconds after which it counts as broken.
    """

    name: str
    meaning: str
    mending: str
    look: Look
    applies: Callable[[DoctorOptions], bool]
    needs: tuple[str, ...] = ()
    patience: float = PATIENCE


CHECKS: list[Check] = []
"""All, in the order in which they look."""


def check(
    name: str,
    meaning: str,
    mending: str,
    applies: Callable[[DoctorOptions], bool] = lambda options: True,
    needs: tuple[str, ...] = (),
    patience: float = PATIENCE,
) -> Callable[[Look], Look]:
    """Decorator: a new check is a new function."""

    def register(look: Look) -> Look:
        CHECKS.append(Check(name, meaning, mending, look, applies, needs, patience))
        return look

    return register
