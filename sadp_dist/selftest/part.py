"""Parts of the self-test. Each has a share of the time, and checks that files register."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sadp_dist.selftest.setting import Setting

Figures = dict[str, Any]
"""What a check found: numbers and words by name, with units in the names; or a curve, a list of points."""


class Skipped(Exception):
    """A check cannot run here. The message is the reason: what is missing."""


@dataclass(frozen=True)
class Check:
    """One check or measurement.

    Attributes:
        name: a few words, unique within all parts.
        run: does the work and returns its figures, in another process: a function that can be pickled. An
            exception is a failure, ``Skipped`` is not.
        seconds: after so many it is cut, unless the part has fewer left. More than ten minutes for
            everything give each check more, too.
    """

    name: str
    run: Callable[[Setting], Figures]
    seconds: float


@dataclass(frozen=True)
class Part:
    """Checks that share a budget, in the order in which they run: the most valuable first.

    Attributes:
        name: of the part.
        minutes: its share of ten minutes. What a part does not use goes to the next one.
    """

    name: str
    minutes: float
    checks: list[Check] = field(default_factory=list)

    def check(
        self, name: str, seconds: float = 60.0
    ) -> Callable[[Callable[[Setting], Figures]], Callable[[Setting], Figures]]:
        """Register the decorated function as a check of this part."""

        def register(run: Callable[[Setting], Figures]) -> Callable[[Setting], Figures]:
            self.checks.append(Check(name, run, seconds))
            return run

        return register


MACHINE = Part("machine", 0.5)
CORRECTNESS = Part("correctness", 2.0)
COST = Part("cost", 3.0)
PROMISE = Part("promise", 4.0)
PARTS = (MACHINE, CORRECTNESS, COST, PROMISE)
"""All parts in their order. They leave half a minute of ten."""
