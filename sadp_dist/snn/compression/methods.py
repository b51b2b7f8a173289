"""The methods of compression, each registered under the name that a configuration gives it."""

from sadp_dist.snn.compression import (  # noqa: F401  (each registers its method)
    activity_pruning,
    quantisation,
    sparse_structure,
)
from sadp_dist.snn.compression.base import (
    COMPRESSIONS,
    Compression,
    build_compression,
    register_compression,
)

__all__ = ["COMPRESSIONS", "Compression", "build_compression", "register_compression"]
