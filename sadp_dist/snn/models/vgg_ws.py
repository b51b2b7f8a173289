"""VGG11 (WS), standardised convolutions for batch norm (supplement of SLTT, Meng et al., ICCV 2023, H.3).

Blocks of convolution, neurons and dropout, average pooling, and one linear layer of what is left of the
image. The supplement describes it by VGG11, and takes its settings from OTTT (Xiao et al., NeurIPS 2022; I,
last paragraph), where it has the layout below: two of VGG11's five poolings are not there. We keep to that.
An average of four spikes has down to a quarter of their variance, which no norm makes up for: with five of
them no spike would reach the last layer at first.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.models.registry import Blueprint, register_network
from sadp_dist.snn.models.standardised import GAMMA, StandardisedConv2d

LAYOUT = ((64, 128), (256, 256), (512, 512), (512, 512))
"""Channels of the 3x3 convolutions, between which the image is halved."""

DROPOUT = 0.4
"""The supplement's for DVS128 Gesture (0.3 for CIFAR10-DVS). The same is dropped at all time steps."""

SMALLEST = 8


@register_network("vgg11_ws")
def build_vgg11_ws(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """VGG11 without norms: standardised weights, average pooling and dropout, and one linear layer."""
    if blueprint.image_size < SMALLEST:
        raise UsageError(
            f"image_size={blueprint.image_size} is too small for vgg11_ws, which needs at least {SMALLEST}: "
            "use small_cnn, or enlarge the images"
        )
    layers: list[nn.Module] = []
    inputs = blueprint.channels
    for widths in LAYOUT:
        for outputs in widths:
            gamma = GAMMA if layers else 1.0  # for spikes, or the image
            layers += [StandardisedConv2d(inputs, outputs, gamma=gamma), blueprint.neuron()]
            layers.append(layer.Dropout(DROPOUT))
            inputs = outputs
        layers.append(layer.AvgPool2d(2))
    layers[-1] = layer.AdaptiveAvgPool2d(1)
    first, *rest = layers
    body = nn.Sequential(*rest, layer.Flatten(start_dim=1), layer.Linear(inputs, blueprint.num_classes))
    return nn.Sequential(first), body
