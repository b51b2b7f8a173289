"""Distributed spike-aware data pruning (SADP) for training spiking neural networks."""

from sadp_dist.selection import PruningConfig
from sadp_dist.store import connect, open_snapshot

__all__ = ["PruningConfig", "connect", "open_snapshot"]
__version__ = "0.1.0"
