"""The ``network:`` section of a configuration, and the registry of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from sadp_dist.registry import Registry
from sadp_dist.sections import Section
from sadp_dist.snn.neurons import NeuronConfig

if TYPE_CHECKING:
    from sadp_dist.snn.models.registry import Builder

_FOLDER = "sadp_dist.snn.models"
_FILES = {
    "features": ["spiking_mlp", "recurrent_snn", "recurrent_snn_plain"],
    "meta_spikeformer": ["meta_spikeformer_15m", "meta_spikeformer_31m", "meta_spikeformer_55m"],
    "nf_resnet": ["nf_resnet34", "nf_resnet50", "nf_resnet101"],
    "resnet": ["spiking_resnet18", "sew_resnet18", "sew_resnet34", "spiking_resnet19"],
    "small_cnn": ["small_cnn", "small_cnn_pooled"],
    "t_revsnn": ["t_revsnn_resnet18", "t_revsnn_small"],
    "vgg": ["vgg11", "vgg16"],
    "vgg_ws": ["vgg11_ws"],
}

NETWORKS: Registry[Builder] = Registry(
    "network", {name: f"{_FOLDER}.{file}" for file, names in _FILES.items() for name in names}
)
"""Networks by name. To add a network, write a file with one registered function."""


class NetworkConfig(Section):
    """The network, its number of time steps and its neurons.

    Attributes:
        name: one of `sadp_dist.snn.NETWORKS`, such as "small_cnn", "spiking_resnet18" or
            "meta_spikeformer_31m", or a network that you registered.
        time_steps: T, how often an image is shown, or the length of a sequence.
        neuron: the neurons of all layers.
        weights: the initial weights: the directory of a run, whose newest checkpoint is used, or a file of
            published weights. By default they are random. They may be from another T, except for networks
            with separate weights for each time step (with PSN or masked PSN neurons, and T-RevSNN).
    """

    kinds = NETWORKS
    kind_key = "name"

    name: str = "small_cnn"
    time_steps: Annotated[int, Field(ge=1)] = 4
    neuron: NeuronConfig = Field(default_factory=NeuronConfig)
    weights: str | None = None
