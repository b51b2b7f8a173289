"""Compression of networks: quantised weights, fewer channels, fewer connections."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.snn.compression.config import COMPRESSIONS, CompressionConfig, register_compression

if TYPE_CHECKING:
    from sadp_dist.snn.compression.base import Compression, build_compression

__all__ = ["COMPRESSIONS", "Compression", "CompressionConfig", "build_compression", "register_compression"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # these need torch, which a configuration should not import
        return getattr(import_module("sadp_dist.snn.compression.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
