"""Residual networks without norms: NF-ResNets (Brock et al., ICLR 2021) with LIF neurons.

As the supplement of SLTT has them (Meng et al., ICCV 2023, H.1 and H.2):

    x_{l+1} = x_l + α f_l(x_l / β_l),    α = 0.2

where f_l are neurons and standardised convolutions by turns, and keeps a variance of 1. Then the variance
of x_l is known beforehand: it grows by α² in a block, and β_l is its root. A block that changes the shape
takes as its shortcut a 1x1 convolution of its first spikes, whose variance is 1 again.

What the supplement leaves open: the number of blocks, strides and widths are torchvision's ResNets', and so
is the number of parameters, for every convolution has a gain and a bias in place of its norm's weight and
bias. Two things in the authors' public code are not here: a learned factor that begins at 0 behind every
f_l (SkipInit), with which most layers would get no gradient and no score at first, and a classifier of
currents: here it sees the spikes of a last layer of neurons, as in their Appendix A.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from sadp_dist.snn.models.registry import Blueprint, register_network
from sadp_dist.snn.models.resnet import SMALL_IMAGE, WIDTH
from sadp_dist.snn.models.standardised import StandardisedConv2d

ALPHA = 0.2


@register_network("nf_resnet34")
def build_nf_resnet34(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet34 without norms: standardised weights and scaled blocks keep the variance of its currents."""
    return _nf_resnet((3, 4, 6, 3), False, blueprint)


@register_network("nf_resnet50")
def build_nf_resnet50(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet50 without norms, see :func:`build_nf_resnet34`."""
    return _nf_resnet((3, 4, 6, 3), True, blueprint)


@register_network("nf_resnet101")
def build_nf_resnet101(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet101 without norms, see :func:`build_nf_resnet34`."""
    return _nf_resnet((3, 4, 23, 3), True, blueprint)


class ScaledBlock(nn.Module):
    """x + α f(x / β), currents [T, B, C, H, W] in and out.

    Args:
        widths: channels that come in, those between and those that go out.
        stride: of the 3x3 convolution that shrinks the image.
        bottleneck: f is a 1x1, a 3x3 and a 1x1 convolution, and else two of 3x3.
        variance: of x, as it is expected.
        blueprint: makes the neurons.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        stride: int,
        bottleneck: bool,
        variance: float,
        blueprint: Blueprint,
    ) -> None:
        super().__init__()
        inputs, inner, outputs = widths
        self.beta = variance**0.5
        self.neuron = blueprint.neuron()
        if bottleneck:
            convolutions = [
                StandardisedConv2d(inputs, inner, 1),
                StandardisedConv2d(inner, inner, 3, stride),
                StandardisedConv2d(inner, outputs, 1),
            ]
        else:
            convolutions = [
                StandardisedConv2d(inputs, outputs, 3, stride),
                StandardisedConv2d(outputs, outputs, 3),
            ]
        self.branch = nn.Sequential(convolutions[0])
        for convolution in convolutions[1:]:
            self.branch.extend((blueprint.neuron(), convolution))
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else StandardisedConv2d(inputs, outputs, 1, stride)
        self.variance = (variance if same else 1.0) + ALPHA**2  # of what goes out

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x / self.beta)
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(spikes)
        branch: Tensor = self.branch(spikes)
        return shortcut + ALPHA * branch


def _nf_resnet(
    depths: tuple[int, ...], bottleneck: bool, blueprint: Blueprint
) -> tuple[nn.Module, nn.Module]:
    if blueprint.image_size <= SMALL_IMAGE:
        stem = nn.Sequential(StandardisedConv2d(blueprint.channels, WIDTH, 3, gamma=1.0))
    else:
        stem = nn.Sequential(
            StandardisedConv2d(blueprint.channels, WIDTH, 7, stride=2, gamma=1.0),
            layer.AvgPool2d(3, stride=2, padding=1),
        )
    blocks: list[nn.Module] = []
    inputs, variance = WIDTH, 1.0
    for stage, depth in enumerate(depths):
        inner = WIDTH * 2**stage
        outputs = 4 * inner if bottleneck else inner
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            block = ScaledBlock((inputs, inner, outputs), stride, bottleneck, variance, blueprint)
            blocks.append(block)
            inputs, variance = outputs, block.variance
    body = nn.Sequential(
        *blocks,
        blueprint.neuron(),
        layer.AdaptiveAvgPool2d(1),
        layer.Flatten(start_dim=1),
        layer.Linear(inputs, blueprint.num_classes),
    )
    return stem, body
