"""Networks made smaller: few bits for a weight, few channels, few connections; and what is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sadp_dist.snn.compression.config import CompressionConfig

if TYPE_CHECKING:
    from sadp_dist.snn.compression.methods import (
        COMPRESSIONS,
        Compression,
        build_compression,
        register_compression,
    )

__all__ = ["COMPRESSIONS", "Compression", "CompressionConfig", "build_compression", "register_compression"]


def __getattr__(name: str) -> Any:
    # The methods need torch, which a configuration should not wait for.
    if name in __all__:
        from sadp_dist.snn.compression import methods

        return getattr(methods, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
