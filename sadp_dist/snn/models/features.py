"""Networks for sequences of features such as audio: three hidden layers, dense or recurrent.

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
    """Three dense hidden layers; only the potentials of the neurons carry information over time."""
    return _layers(blueprint, blueprint.neuron)


@register_network("recurrent_snn", inputs="features")
def build_recurrent_snn(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Three recurrent hidden layers: neurons also get the spikes of their layer from the previous step."""
    return _layers(blueprint, lambda: RecurrentNeurons(WIDTH, blueprint.neuron()))


@register_network("recurrent_snn_plain", inputs="features")
def build_recurrent_snn_plain(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """``recurrent_snn`` without batch norm, for learning rules such as e-prop that do not support it."""
    return _layers(blueprint, lambda: RecurrentNeurons(WIDTH, blueprint.neuron()), _linear)


class RecurrentNeurons(MemoryModule):
    """A layer of recurrently connected neurons, from currents [T, B, D] to spikes [T, B, D].

    The input of the neurons is x[t] + V o[t-1]: x[t] is the current from the layer below, o[t-1] are the
    layer's spikes of the previous time step, and o[-1] = 0. The last spikes are kept until the reset, so a
    sequence can be given in several calls. SpikingJelly's LinearRecurrentContainer is not used, because it
    applies a second linear layer to x[t].

    Args:
        width: D.
        neuron: a layer of D neurons in multi-step mode.

    Raises:
        UsageError: the neurons compute all time steps at once, so o[t-1] is not known when they need it.
    """

    o: Tensor | None

    def __init__(self, width: int, neuron: nn.Module) -> None:
        super().__init__()
        if not getattr(neuron, "stepwise", True):
            raise UsageError(
                f"recurrent layers need the spikes of the previous time step, but {type(neuron).__name__} "
                "computes all time steps at once; use network.neuron.kind=lif or network.name=spiking_mlp"
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
        self.o = o.clone()  # a copy: detach_net() detaches in place, which views do not support
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
