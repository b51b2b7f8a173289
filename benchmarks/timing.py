"""Comparable seconds: the compared actions take turns, so a machine that becomes busy slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def in_turns(
    actions: Mapping[str, Callable[[], Any]],
    turns: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each action in each turn, without warm-up turns; the order rotates."""
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


def awaited(step: Callable[[], T]) -> Callable[[], T]:
    """Return a step that also waits for the GPU, if there is one."""

    def wait() -> T:
        result = step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return wait


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Return the median over the turns of the ratio within a turn."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))
