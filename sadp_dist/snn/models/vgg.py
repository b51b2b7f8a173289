"""VGG11 and VGG16 with batch norm: SpikingJelly's layers, with one linear layer as classifier."""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.models.convolution import conv_norm
from sadp_dist.snn.models.registry import Blueprint, register_network

# Configurations A and D of VGG (Simonyan and Zisserman, 2015): channels of the 3x3 convolutions. M is max
# pooling, which halves width and height.
VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


@register_network("vgg11")
def build_vgg11(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """VGG11 with average pooling and one linear layer instead of its three linear layers."""
    return _vgg("vgg11", VGG11, blueprint)


@register_network("vgg16")
def build_vgg16(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """VGG16 with the classifier of :func:`build_vgg11`."""
    return _vgg("vgg16", VGG16, blueprint)


def _vgg(name: str, layout: tuple[int | str, ...], blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    smallest = 2 ** layout.count("M")
    if blueprint.image_size < smallest:
        raise UsageError(
            f"image_size={blueprint.image_size} is too small for {name}, which needs at least {smallest}; "
            "use network.name=small_cnn, or larger images"
        )
    from spikingjelly.activation_based.model.spiking_vgg import SpikingVGG  # needs torchvision

    features = SpikingVGG.make_layers(layout, batch_norm=True, neuron=blueprint.neuron)
    for module in features:
        if isinstance(module, layer.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    body = nn.Sequential(
        *features[2:],  # all but the first convolution and its batch norm, which are the stem
        layer.AdaptiveAvgPool2d(1),
        layer.Flatten(start_dim=1),
        layer.Linear(512, blueprint.num_classes),
    )
    return conv_norm(blueprint.channels, 64), body
