"""How often a place that does not answer is asked again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sadp_dist.errors import StoreUnavailable
from sadp_dist.store.connection import Unreachable

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds

ADVICE = "see to it and go on with --resume, or raise store.timeout"

T = TypeVar("T")


def pauses() -> Iterator[float]:
    """Seconds to wait before each further try: twice as long each time, and never the same for two ranks."""
    chance = random.SystemRandom()  # the job's own random numbers stay as they are
    pause = FIRST_PAUSE
    while True:
        yield pause * chance.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)


def unavailable(problem: Unreachable, timeout: float, advice: str = ADVICE) -> StoreUnavailable:
    """What is said when a place has not answered for too long."""
    return StoreUnavailable(f"{problem}; tried for {timeout:g} s: {advice}")


def until_reached(call: Callable[[], T], timeout: float, advice: str = ADVICE) -> T:
    """The answer of a call that may raise `Unreachable`, which is tried again.

    Args:
        call: asks the place.
        timeout: seconds after which it is given up.
        advice: what to do then; the end of the line.

    Raises:
        StoreUnavailable: nothing for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for pause in pauses():
        try:
            return call()
        except Unreachable as problem:
            if time.monotonic() + pause > deadline:
                raise unavailable(problem, timeout, advice) from problem
        time.sleep(pause)
    raise AssertionError("pauses never end")
