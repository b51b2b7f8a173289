"""The network of a configuration and its data."""

from __future__ import annotations

from typing import Any

from sadp_dist.snn import SpikingNetwork, build_network
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.datasets import TrainingData


def architecture_of(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """Return the arguments of `build_network` for the network that a run trains."""
    return {
        "name": config.network.name,
        "num_classes": data.classes,
        "image_size": data.image_size,
        "channels": data.channels,
        "time_steps": config.network.time_steps,
        "neuron": config.network.neuron,
        **config.network.own_options(),
    }


def network_of(config: TrainConfig, data: TrainingData) -> SpikingNetwork:
    """Return the network that a run trains, with new weights."""
    return build_network(**architecture_of(config, data))
