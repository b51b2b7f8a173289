"""Residual networks without normalisation layers: NF-ResNets (Brock et al., ICLR 2021) with LIF neurons.

Follows the supplement of SLTT (Meng et al., ICCV 2023, H.1 and H.2):

    x_{l+1} = x_l + α f_l(x_l / β_l),    α = 0.2

The branch f_l alternates neurons and standardised convolutions, and its output has variance 1. So the
variance of x_l is known in advance: each block adds α², and β_l is the square root of the variance. In a
block that changes the shape, the shortcut is a 1x1 convolution of the block's first spikes, which has
variance 1 again.

The supplement does not specify depths, strides and widths: they are those of torchvision's ResNets. The
number of parameters is the same, too, because every convolution has a gain and a bias instead of a norm's
weight and bias. There are two differences from the authors' public code:

- It multiplies f_l by a learned factor that starts at 0 (SkipInit). This implementation does not: most layers
  would have no gradient and no score at first.
- Its classifier gets currents. Here it gets the spikes of a last layer of neurons, as in the authors'
  Appendix A.
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
    """ResNet34 without norms: standardised weights and scaled blocks control the variance of currents."""
    return _nf_resnet((3, 4, 6, 3), False, blueprint)


@register_network("nf_resnet50")
def build_nf_resnet50(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet50 without norms; see :func:`build_nf_resnet34`."""
    return _nf_resnet((3, 4, 6, 3), True, blueprint)


@register_network("nf_resnet101")
def build_nf_resnet101(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """ResNet101 without norms; see :func:`build_nf_resnet34`."""
    return _nf_resnet((3, 4, 23, 3), True, blueprint)


class ScaledBlock(nn.Module):
    """x + α f(x / β), from currents [T, B, C, H, W] to currents [T, B, D, H / stride, W / stride].

    Args:
        widths: channels of the input (C), of the bottleneck, and of the output (D).
        stride: stride of the block.
        bottleneck: True: f has a 1x1, a 3x3 and a 1x1 convolution; False: two 3x3 convolutions.
        variance: expected variance of x, β².
        blueprint: provides the neurons.
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
        self.variance = (variance if same else 1.0) + ALPHA**2  # of the output

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
