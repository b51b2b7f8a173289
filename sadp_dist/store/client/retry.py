"""How a store that does not answer is tried again."""

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
    """Yield the seconds to wait before each further try: twice as long each time, different on each rank."""
    chance = random.SystemRandom()  # leaves the job's random numbers alone
    pause = FIRST_PAUSE
    while True:
        yield pause * chance.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)


def unavailable(problem: Unreachable, timeout: float, advice: str = ADVICE) -> StoreUnavailable:
    """Return the error for a store that has not answered for too long."""
    return StoreUnavailable(f"{problem}; tried for {timeout:g} s: {advice}")


def until_reached(call: Callable[[], T], timeout: float, advice: str = ADVICE) -> T:
    """Return the result of a call that is repeated as long as it raises `Unreachable`.

    Args:
        call: asks the store.
        timeout: seconds after which to give up.
        advice: what to do then; the end of the message.

    Raises:
        StoreUnavailable: no answer for `timeout` seconds.
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
