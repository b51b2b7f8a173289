"""Spiking networks: neurons (Eqs. 1-3) and the architectures built from them, on SpikingJelly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sadp_dist.snn.neurons import NeuronConfig, lif

if TYPE_CHECKING:
    from sadp_dist.snn.models import NETWORKS, SpikingNetwork, build_network, register_network

__all__ = ["NETWORKS", "NeuronConfig", "SpikingNetwork", "build_network", "lif", "register_network"]


def __getattr__(name: str) -> Any:
    # The networks need torch, which a configuration (it needs NeuronConfig alone) should not wait for.
    if name in __all__:
        from sadp_dist.snn import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
