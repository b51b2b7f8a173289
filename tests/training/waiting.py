"""What makes a step wait for its device: every reading of a tensor's values, as seen on the CPU too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
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
