"""VGG11 (WS): VGG11 with standardised convolutions instead of batch norm.

Follows the supplement of SLTT (Meng et al., ICCV 2023, H.3). The network has blocks of convolution, neurons
and dropout, with average pooling between the stages, and one linear layer. The supplement calls it VGG11 and
takes its settings from OTTT (Xiao et al., NeurIPS 2022; I, last paragraph). That paper has the layout below,
which has three of VGG11's five pooling layers and a final average. Averaging four spikes reduces their
variance up to four times, and there is no norm to restore it: with five pooling layers, no spike would reach
the last layer at first.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.models.registry import Blueprint, register_network
from sadp_dist.snn.models.standardised import GAMMA, StandardisedConv2d

LAYOUT = ((64, 128), (256, 256), (512, 512), (512, 512))
"""Channels of the 3x3 convolutions of each stage. Average pooling between stages halves width and height."""

DROPOUT = 0.4
"""The supplement's value for DVS128 Gesture; for CIFAR10-DVS it has 0.3. All time steps share a mask."""

SMALLEST = 8


@register_network("vgg11_ws")
def build_vgg11_ws(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """VGG11 without norms: standardised weights, average pooling, dropout and one linear layer."""
    if blueprint.image_size < SMALLEST:
        raise UsageError(
            f"image_size={blueprint.image_size} is too small for vgg11_ws, which needs at least {SMALLEST}; "
            "use network.name=small_cnn, or larger images"
        )
    layers: list[nn.Module] = []
    inputs = blueprint.channels
    for widths in LAYOUT:
        for outputs in widths:
            gamma = GAMMA if layers else 1.0  # the first layer gets images, the others spikes
            layers += [StandardisedConv2d(inputs, outputs, gamma=gamma), blueprint.neuron()]
            layers.append(layer.Dropout(DROPOUT))
            inputs = outputs
        layers.append(layer.AvgPool2d(2))
    layers[-1] = layer.AdaptiveAvgPool2d(1)
    first, *rest = layers
    body = nn.Sequential(*rest, layer.Flatten(start_dim=1), layer.Linear(inputs, blueprint.num_classes))
    return nn.Sequential(first), body
