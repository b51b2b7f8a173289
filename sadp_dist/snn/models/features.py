"""Networks for features over time, as of audio: three hidden layers of neurons, dense or recurrent.

A hidden layer is a linear layer, batch norm and neurons, as in the baselines of Bittar and Garner (2022, "A
surrogate gradient spiking baseline for speech command recognition") for Speech Commands and SHD.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from spikingjelly.activation_based import layer
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.models.registry import Blueprint, register_network

HIDDEN_LAYERS = 3
WIDTH = 512  # neurons of a hidden layer


@register_network("spiking_mlp", inputs="features")
def build_spiking_mlp(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Three dense hidden layers: time acts within a neuron alone."""
    return _layers(blueprint, blueprint.neuron)


@register_network("recurrent_snn", inputs="features")
def build_recurrent_snn(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Three recurrent hidden layers: neurons also take the spikes that their layer sent one step before."""
    return _layers(blueprint, lambda: RecurrentNeurons(WIDTH, blueprint.neuron()))


@register_network("recurrent_snn_plain", inputs="features")
def build_recurrent_snn_plain(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """The same without batch norm, for learning rules that are defined synapse by synapse, as e-prop is."""
    return _layers(blueprint, lambda: RecurrentNeurons(WIDTH, blueprint.neuron()), _linear)


class RecurrentNeurons(MemoryModule):
    """Neurons that are connected among themselves, [T, B, D] currents to [T, B, D] spikes.

    With x[t] the current from the layer below, neurons get x[t] + V o[t-1], where o[-1] = 0. The last spikes
    are kept until the reset, so that a sequence may come in parts. SpikingJelly's LinearRecurrentContainer
    would put x[t] through a second linear layer.

    Args:
        width: D.
        neuron: D of them, in multi-step mode.

    Raises:
        UsageError: neurons that compute all time steps at once, and so before these have sent any spikes.
    """

    o: Tensor | None

    def __init__(self, width: int, neuron: nn.Module) -> None:
        super().__init__()
        if not getattr(neuron, "stepwise", True):
            raise UsageError(
                f"a {type(neuron).__name__} computes all time steps at once, and recurrent neurons need the "
                'spikes of the step before: use neuron kind "lif", or the network spiking_mlp'
            )
        self.recurrent = nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.recurrent.weight)
        self.neuron = neuron
        self.register_memory("o", None)  # [B, D], the last spikes
        self.step_mode = "m"

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def multi_step_forward(self, x: Tensor) -> Tensor:
        o = torch.zeros_like(x[0]) if self.o is None else self.o
        spikes = []
        for current in x:
            o = self.neuron((current + self.recurrent(o)).unsqueeze(0)).squeeze(0)
            spikes.append(o)
        self.o = o.clone()  # a view could not be detached in place
        return torch.stack(spikes)


def _linear_norm(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_linear(inputs, outputs, bias=False), layer.BatchNorm1d(outputs))


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Sequential:
    linear = layer.Linear(inputs, outputs, bias=bias)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    return nn.Sequential(linear)


def _layers(
    blueprint: Blueprint,
    hidden: Callable[[], nn.Module],
    linear: Callable[[int, int], nn.Sequential] = _linear_norm,
) -> tuple[nn.Module, nn.Module]:
    body: list[nn.Module] = [hidden()]
    for _ in range(HIDDEN_LAYERS - 1):
        body += [*linear(WIDTH, WIDTH), hidden()]
    body.append(layer.Linear(WIDTH, blueprint.num_classes))
    return linear(blueprint.channels, WIDTH), nn.Sequential(*body)
