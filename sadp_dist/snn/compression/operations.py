"""Counts the synaptic operations (SOPs) of a network, a measure of its energy."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from sadp_dist.snn.layers import WEIGHTED
from sadp_dist.snn.models.network import SpikingNetwork


@torch.no_grad()
def synaptic_operations(network: SpikingNetwork, batches: Iterable[Tensor]) -> dict[str, float]:
    """Return the SOPs of each layer: its input spikes, times the connections of each spike.

        SOPs = Σ_l Σ_t Σ_j (o_j^(l-1)[t] != 0) |{i: w_ij^l != 0}|

    The result is the mean over examples of the sum over all time steps. Weights that are 0 are not
    connections, and neither are those that a convolution applies to padding. Every input other than 0 counts
    as one spike, also the sum of a residual block or the mean of a pooling layer. Two things are not counted:
    the stem, whose input is not spikes, and products of the spikes of two layers, as in attention.

    Args:
        network: it is in evaluation mode during the call.
        batches: inputs of the network, with at least one example.

    Returns:
        SOPs by the names of the layers. The SOPs of the network are their sum.
    """
    layers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, WEIGHTED) and name.startswith("body.")
    }
    counted = {name: torch.zeros((), dtype=torch.float64) for name in layers}
    examples = 0

    def count(name: str, layer: nn.Module) -> RemovableHandle:
        def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            counted[name] += operations(layer, args[0]).cpu()

        return layer.register_forward_pre_hook(add)

    hooks = [count(name, layer) for name, layer in layers.items()]
    training = network.training
    network.eval()
    try:
        for batch in batches:
            network(batch)
            examples += batch.shape[0] if batch.dim() == 4 else batch.shape[1]
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return {name: float(total) / examples for name, total in counted.items()}


def operations(layer: nn.Module, spikes: Tensor) -> Tensor:
    """Return the operations of one call of a layer, a float64 scalar.

    Args:
        layer: linear, or a convolution.
        spikes: its input, [*, D] or [*, C, ...].
    """
    fired, connected = (spikes != 0).float(), (layer.weight != 0).float()  # type: ignore[union-attr]
    with torch.autocast(spikes.device.type, enabled=False):
        if isinstance(layer, nn.Linear):
            return (fired.flatten(0, -2).sum(dim=0).double() * connected.sum(dim=0)).sum()
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        # All outputs of a group become one, with the sum of their connections.
        fan_out = connected.unflatten(0, (layer.groups, -1)).sum(dim=1)
        dimensions = layer.weight.dim() - 2
        images = fired.flatten(0, -dimensions - 2)
        convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[dimensions]
        if layer.padding_mode != "zeros":
            images, padding = (
                functional.pad(images, layer._reversed_padding_repeated_twice, layer.padding_mode),
                (0,) * dimensions,
            )
        else:
            padding = layer.padding  # type: ignore[assignment]
        return (
            convolve(images, fan_out, None, layer.stride, padding, layer.dilation, layer.groups)
            .double()
            .sum()
        )
