"""Spiking networks on SpikingJelly: neurons (Eqs. 1-3), architectures and learning rules."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.snn.learning.config import LEARNING_RULES, LearningConfig, register_learning_rule
from sadp_dist.snn.lif_neuron import lif
from sadp_dist.snn.neurons import NEURONS, NeuronConfig, register_neuron

if TYPE_CHECKING:
    from sadp_dist.snn.learning import build_learning_rule
    from sadp_dist.snn.models import NETWORKS, SpikingNetwork, build_network, register_network

__all__ = [
    "LEARNING_RULES",
    "NETWORKS",
    "NEURONS",
    "LearningConfig",
    "NeuronConfig",
    "SpikingNetwork",
    "build_learning_rule",
    "build_network",
    "lif",
    "register_learning_rule",
    "register_network",
    "register_neuron",
]


def __getattr__(name: str) -> Any:
    # These need torch. A configuration needs only the ...Config classes and should not import it.
    if name in __all__:
        package = "learning" if "learning" in name.lower() else "models"
        return getattr(import_module(f"sadp_dist.snn.{package}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
