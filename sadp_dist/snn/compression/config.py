"""The ``compression:`` section of a configuration, and the registry of methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.registry import Registry
from sadp_dist.sections import Section

if TYPE_CHECKING:
    from sadp_dist.snn.compression.base import Compression

COMPRESSIONS: Registry[type[Compression]] = Registry(
    "compression method",
    {
        "qat": "sadp_dist.snn.compression.quantisation:QATConfig",
        "activity-pruning": "sadp_dist.snn.compression.activity_pruning:ActivityPruningConfig",
        "sparse-structure": "sadp_dist.snn.compression.sparse_structure:SparseStructureConfig",
    },
)
"""Compression methods by name. To add one, write a file with one registered subclass of ``Compression``."""

register_compression = COMPRESSIONS.register


class CompressionConfig(Section):
    """How training makes the network smaller.

    Attributes:
        method: "none", "qat" (quantised weights), "activity-pruning" (removes channels of low activity),
            "sparse-structure" (starts with few connections and rewires them), or a method that you
            registered.
    """

    kinds = COMPRESSIONS
    kind_key = "method"

    method: str = "none"

    @property
    def needs_momentum(self) -> bool:
        """Whether the method grows connections by the optimizer's momentum."""
        return False

    def check_epochs(self, epochs: int) -> None:
        """Refuse a run that ends before the method has any effect.

        Raises:
            UsageError: the run is too short.
        """
