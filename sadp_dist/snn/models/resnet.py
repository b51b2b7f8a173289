"""Spiking ResNet and SEW-ResNet of SpikingJelly, with a stem for small images, and Spiking ResNet19.

SpikingJelly's networks need torchvision, so they are imported only when one is built.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn

from sadp_dist.snn.models.convolution import conv_norm
from sadp_dist.snn.models.registry import Blueprint, register_network

WIDTH = 64  # channels of the stem

SMALL_IMAGE = 48
"""Largest image size in pixels that the stem does not reduce (CIFAR has 32, CIFAR10-DVS 48)."""

RESNET19 = ((128, 3), (256, 3), (512, 2))  # channels and number of blocks of each stage
HIDDEN = 256  # neurons of ResNet19's hidden layer


@register_network("spiking_resnet18")
def build_spiking_resnet18(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet18 with neurons as activations: a block adds its shortcut to the input of its last neurons."""
    from spikingjelly.activation_based.model.spiking_resnet import spiking_resnet18

    resnet = spiking_resnet18(num_classes=blueprint.num_classes, spiking_neuron=blueprint.neuron)
    return _with_stem(resnet, blueprint)


@register_network("sew_resnet18")
def build_sew_resnet18(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """SEW-ResNet18: a block adds its shortcut to the spikes of its last neurons (the function ADD)."""
    from spikingjelly.activation_based.model.sew_resnet import sew_resnet18

    resnet = sew_resnet18(num_classes=blueprint.num_classes, cnf="ADD", spiking_neuron=blueprint.neuron)
    return _with_stem(resnet, blueprint)


@register_network("sew_resnet34")
def build_sew_resnet34(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """SEW-ResNet34; see :func:`build_sew_resnet18`."""
    from spikingjelly.activation_based.model.sew_resnet import sew_resnet34

    resnet = sew_resnet34(num_classes=blueprint.num_classes, cnf="ADD", spiking_neuron=blueprint.neuron)
    return _with_stem(resnet, blueprint)


@register_network("spiking_resnet19")
def build_spiking_resnet19(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet19 for small images (Zheng et al., AAAI 2021): three wide stages and two linear layers.

    Its blocks are those of :func:`build_spiking_resnet18`. They use batch norm instead of the paper's tdBN:
    at ϑ = 1 the two differ only in the initial weights of the norms before a block's sum. A batch norm is
    added before the hidden neurons. Without it, none of them would spike at first, and the last layer would
    have no score.
    """
    from spikingjelly.activation_based.model.spiking_resnet import BasicBlock

    blocks: list[nn.Module] = []
    inputs = RESNET19[0][0]
    for stage, (outputs, depth) in enumerate(RESNET19):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            shortcut = None if inputs == outputs else conv_norm(inputs, outputs, kernel_size=1, stride=stride)
            block = BasicBlock(inputs, outputs, stride, shortcut, spiking_neuron=blueprint.neuron)
            for conv in (block.conv1, block.conv2):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            blocks.append(block)
            inputs = outputs
    body = nn.Sequential(
        blueprint.neuron(),
        *blocks,
        layer.AdaptiveAvgPool2d(1),
        layer.Flatten(start_dim=1),
        layer.Linear(inputs, HIDDEN),
        layer.BatchNorm1d(HIDDEN),
        blueprint.neuron(),
        layer.Linear(HIDDEN, blueprint.num_classes),
    )
    return conv_norm(blueprint.channels, RESNET19[0][0]), body


def _with_stem(resnet: nn.Module, blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Split a ResNet into stem and body.

    For small images the stem is a 3x3 convolution without pooling (He et al., 2016, 4.2).
    """
    if blueprint.image_size <= SMALL_IMAGE:
        stem = conv_norm(blueprint.channels, WIDTH)
        resnet.maxpool = nn.Identity()
    else:
        stem = conv_norm(blueprint.channels, WIDTH, kernel_size=7, stride=2)
    resnet.conv1 = resnet.bn1 = nn.Identity()
    return stem, resnet
