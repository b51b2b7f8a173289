"""What makes a step wait for its device.

On CUDA, torch and its profiler see every wait. On the CPU, every reading of a tensor's values would be one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

READING = {"item", "tolist", "numpy", "__array__", "__bool__", "__float__", "__int__", "__index__"}
DEPENDS_ON_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class _Calls(TorchFunctionMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in READING:
            self._seen[name] += 1
        return func(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    """Also those that the backward pass calls: of a size or a result that only the values tell."""

    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if DEPENDS_ON_VALUES & set(func.tags):
            self._seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def values_read() -> Iterator[Counter[str]]:
    """Counts what reads values, by its name."""
    seen: Counter[str] = Counter()
    with _Operators(seen), _Calls(seen):
        yield seen


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Raise RuntimeError where an operation of torch waits for a CUDA device, in this block."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


STEP = "sadp_dist: a step"
"""Name of the ranges of a profile in which nothing may wait."""


def waits_in_steps(events: Iterable[Any]) -> list[str]:
    """Return the calls that wait for the device during a profile's steps, each with where it was made.

    Args:
        events: of a profile, with names, time ranges, parents and stacks.
    """
    seen = list(events)
    # The device has ranges of the same name, which end later.
    steps = [event.time_range for event in seen if event.name == STEP and event.device_type == DeviceType.CPU]
    waits = []
    for event in seen:
        starts = event.time_range.start
        if _waits(event.name) and any(step.start <= starts <= step.end for step in steps):
            parent, names = event.cpu_parent, [event.name]
            while parent is not None and parent.name != STEP:
                names.append(parent.name)
                parent = parent.cpu_parent
            ours = [line for line in event.stack or () if "sadp_dist" in line]
            waits.append(" in ".join([*names, *ours[:1]]))
    return waits


def _waits(name: str) -> bool:
    """Return whether a call of the CUDA runtime waits; cudaMemcpyAsync does not."""
    return "Synchronize" in name or name == "cudaMemcpy"
