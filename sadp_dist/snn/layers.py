"""The layers of a network that have weights, and their parameters."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

PARAMETRIZED = ".parametrizations.weight.original"
"""Suffix of a parametrized weight's trained tensor in a network's state; otherwise it is `.weight`."""


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the trained linear and convolutional layers by name, in the order of registration."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, WEIGHTED) and weight_parameter(module).requires_grad
    }


def weight_parameter(layer: nn.Module) -> Tensor:
    """Return the tensor that the optimizer trains for a layer's weight, also with a parametrization."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.parametrizations.weight.original  # type: ignore[union-attr,return-value]
    return layer.weight  # type: ignore[return-value]


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
