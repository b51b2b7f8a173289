"""A network's layers with weights: which there are, and how many of their weights there are."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

PARAMETRIZED = ".parametrizations.weight.original"
"""How the name ends, in a network's state, of what is trained behind a weight; else it is `.weight`."""


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolutional layers that are trained, by name, in the order of registration."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, WEIGHTED) and weight_parameter(module).requires_grad
    }


def weight_parameter(layer: nn.Module) -> Tensor:
    """What the optimizer trains of a layer's weight, also where a parametrization stands before it."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.parametrizations.weight.original  # type: ignore[union-attr,return-value]
    return layer.weight  # type: ignore[return-value]


def count_parameters(network: nn.Module) -> int:
    """All trained numbers of a network, norms and biases included."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
