"""FFCV's `os_cache=True`, a .beton mapped into memory, without a change to numba's types.

FFCV's own reader marks numba's type of a byte array as read-only, in place. numba finds compiled code by its
types, so this would hide other code that was compiled for byte arrays, such as the plan of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.memory_managers import OSCacheManager
        from ffcv.memory_managers.base import MemoryContext
        from ffcv.pipeline.compiler import Compiler
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error


class MappedFile(MemoryContext):
    """Takes the place of FFCV's memory manager, and is the memory context of every epoch.

    Args:
        manager: FFCV's. It is not kept: it holds several Python objects for each example.
    """

    def __init__(self, manager: OSCacheManager) -> None:
        self.mapped = np.memmap(manager.reader.file_name, "uint8", mode="r")
        self._ptrs, self._sizes = manager.ptrs, manager.sizes

    @property
    def state(self) -> tuple[Any, Any, Any]:
        """Arguments of the compiled reader: the file's bytes, the examples' addresses and sizes."""
        return self.mapped, self._ptrs, self._sizes

    def schedule_epoch(self, batches: Any) -> MappedFile:
        return self

    def compile_reader(self) -> Callable[..., Any]:
        """(address, state) -> the bytes written there. numba takes the types from the arguments."""

        def read(address: Any, state: Any) -> Any:
            data, addresses, sizes = state
            return data[address : address + sizes[np.searchsorted(addresses, address)]]

        return Compiler.compile(read)  # type: ignore[no-any-return]

    def __enter__(self) -> MappedFile:
        return self

    def __exit__(self, *_: Any) -> None:
        """Keep the file mapped for the next epoch."""
