"""FFCV's reader of a mapped file, without what it does to the types of the whole process.

FFCV's own makes numba's type of an array of bytes a read-only one, in place. What is compiled is found by its
types, so that whatever else was compiled for bytes, such as the plan of an epoch, could not be found again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        import ffcv.loader.loader
        from ffcv.memory_managers import OSCacheManager
        from ffcv.pipeline.compiler import Compiler
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error


class MappedFile(OSCacheManager):
    """FFCV's memory manager for files that the system's cache holds."""

    def compile_reader(self) -> Callable[..., Any]:
        """(address, memory) -> the bytes written there; its types are those that it is called with."""

        def read(address: Any, memory: Any) -> Any:
            data, addresses, sizes = memory
            return data[address : address + sizes[np.searchsorted(addresses, address)]]

        return Compiler.compile(read)  # type: ignore[no-any-return]


ffcv.loader.loader.OSCacheManager = MappedFile
