"""Seconds that can be compared: what is compared takes turns, so that a machine that grows busy slows all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def in_turns(
    actions: Mapping[str, Callable[[], Any]],
    turns: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each action in each turn, the first ones not counted; each turn begins with another one."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    names = list(actions)
    for turn in range(-warm_up, turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            actions[name]()
            if turn >= 0:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over the turns of the ratio within each."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))
