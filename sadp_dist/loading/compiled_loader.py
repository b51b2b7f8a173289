"""FFCV's loader with the memory managers of this package."""

from __future__ import annotations

from typing import Any

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.ffcv_import import importing_ffcv, thread_counts_kept

try:
    with importing_ffcv():
        from ffcv.loader import Loader
        from ffcv.memory_managers import MemoryManager, OSCacheManager
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

from sadp_dist.loading.mapped_file import MappedFile
from sadp_dist.loading.page_cache import PageCache


class CompiledLoader(Loader):
    """An FFCV loader that reads through a `MappedFile` or a `PageCache`; FFCV itself stays as it is.

    Args:
        arguments, options: FFCV's.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        with thread_counts_kept():
            super().__init__(*arguments, **options)

    @property
    def memory_manager(self) -> MappedFile | PageCache:
        return self._memory_manager

    @memory_manager.setter
    def memory_manager(self, manager: MemoryManager) -> None:
        """Take the place of the manager that FFCV's `__init__` assigns, before it compiles the reader."""
        replacement = MappedFile if isinstance(manager, OSCacheManager) else PageCache
        self._memory_manager = replacement(manager)
