"""Time and memory of steps on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from sadp_dist.snn.learning.memory import BytesKept

MIB = 2**20


def step_seconds(
    steps: Mapping[str, Callable[[], object]], turns: int, device: torch.device, warm_up: int = 3
) -> dict[str, list[float]]:
    """Return the seconds of each step in each turn, without warm-up turns; the order rotates.

    On CUDA, events in the stream take the times, so the host runs ahead as in training. Each turn begins with
    an idle device.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(-warm_up, turns):
        first = turn % len(names)
        marks = {name: _timed(steps[name], device) for name in names[first:] + names[:first]}
        if turn >= 0:
            for name, took in marks.items():
                seconds[name].append(took())
        elif device.type == "cuda":
            torch.cuda.synchronize(device)
    return seconds


def _timed(step: Callable[[], object], device: torch.device) -> Callable[[], float]:
    """Run a step, and return a function that waits for its end and returns its seconds."""
    if device.type != "cuda":
        started = time.perf_counter()
        step()
        took = time.perf_counter() - started
        return lambda: took
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    step()
    end.record()

    def seconds() -> float:
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    return seconds


def step_memory(step: Callable[[], object], device: torch.device) -> float:
    """Return the MiB that a step takes at its peak, above what there is between steps.

    On the CPU: what autograd keeps for the backward pass.
    """
    if device.type != "cuda":
        with BytesKept() as kept:
            step()
        return kept.most / MIB
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / MIB


def compared_to(base: str, seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Return for each other step the median over the turns of its time relative to a base."""
    return {
        name: statistics.median(a / b for a, b in zip(of_step, seconds[base], strict=True))
        for name, of_step in seconds.items()
        if name != base
    }
