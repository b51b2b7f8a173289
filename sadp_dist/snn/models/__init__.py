"""Networks. Each file registers its own under their names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.snn.models.config import NETWORKS, NetworkConfig

if TYPE_CHECKING:
    from sadp_dist.snn.models.network import SpikingNetwork
    from sadp_dist.snn.models.registry import Blueprint, build_network, register_network

__all__ = ["NETWORKS", "Blueprint", "NetworkConfig", "SpikingNetwork", "build_network", "register_network"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # these need torch, which a configuration should not import
        file = "network" if name == "SpikingNetwork" else "registry"
        return getattr(import_module(f"sadp_dist.snn.models.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
