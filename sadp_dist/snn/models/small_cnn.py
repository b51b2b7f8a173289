"""Small networks for CPUs. Their convolutions have stride 2, which keeps the feature maps small."""

from __future__ import annotations

from itertools import pairwise

from spikingjelly.activation_based import layer
from torch import nn

from sadp_dist.snn.models.convolution import conv_norm
from sadp_dist.snn.models.registry import Blueprint, register_network

WIDTHS = (32, 64, 128)


@register_network("small_cnn")
def build_small_cnn(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Three blocks of convolution, batch norm and neurons, each with stride 2, and a linear classifier."""
    size = blueprint.image_size
    for _ in WIDTHS:
        size = -(-size // 2)
    blocks = _blocks(blueprint)
    body = nn.Sequential(
        *blocks, layer.Flatten(start_dim=1), layer.Linear(WIDTHS[-1] * size * size, blueprint.num_classes)
    )
    return conv_norm(blueprint.channels, WIDTHS[0], stride=2), body


@register_network("small_cnn_pooled")
def build_small_cnn_pooled(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """`small_cnn` with average pooling before the classifier, so that its weights fit any image size."""
    pool = (layer.AdaptiveAvgPool2d(1), layer.Flatten(start_dim=1))
    body = nn.Sequential(*_blocks(blueprint), *pool, layer.Linear(WIDTHS[-1], blueprint.num_classes))
    return conv_norm(blueprint.channels, WIDTHS[0], stride=2), body


def _blocks(blueprint: Blueprint) -> list[nn.Module]:
    """Return the layers from the first neurons to the last."""
    blocks: list[nn.Module] = [blueprint.neuron()]
    for inputs, outputs in pairwise(WIDTHS):
        blocks += [*conv_norm(inputs, outputs, stride=2), blueprint.neuron()]
    return blocks
