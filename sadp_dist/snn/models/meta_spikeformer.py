"""Meta-SpikeFormer, the Spike-driven Transformer V2 (Yao et al., ICLR 2024).

The network has two stages of convolution blocks and two stages of transformer blocks. Blocks exchange
currents. Each block begins with neurons, so all convolutions after the stem and all attention get spikes.

The paper's network is for images of 224 pixels and reduces their width and height 16 times. This
implementation reduces smaller images less, so that attention has at least 8x8 positions. The same weights
work for all image sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn
from torch.nn.functional import pad

from sadp_dist.snn.models.registry import Blueprint, register_network

DEPTHS = (6, 2)  # transformer blocks in the third and fourth stage
HEADS = 8
EXPANSION = 4  # hidden channels of ChannelConv and ChannelMLP / channels of the block
SCALE = 0.125  # factor of attention, the same for every head width
POSITIONS = 8  # minimum width and height of the maps that attention gets

Neuron = Callable[[], nn.Module]


@register_network("meta_spikeformer_15m")
def build_meta_spikeformer_15m(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Meta-SpikeFormer with 15 million parameters: convolutions, then spike-driven attention."""
    return _meta_spikeformer((64, 128, 256, 360), blueprint)


@register_network("meta_spikeformer_31m")
def build_meta_spikeformer_31m(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Meta-SpikeFormer with 31 million parameters; see :func:`build_meta_spikeformer_15m`."""
    return _meta_spikeformer((96, 192, 384, 480), blueprint)


@register_network("meta_spikeformer_55m")
def build_meta_spikeformer_55m(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Meta-SpikeFormer with 55 million parameters; see :func:`build_meta_spikeformer_15m`."""
    return _meta_spikeformer((128, 256, 512, 640), blueprint)


def _meta_spikeformer(widths: tuple[int, int, int, int], blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """Return stem and body. `widths` are the channels of the four stages; the stem has half of the first."""
    neuron = blueprint.neuron
    strides = _strides(blueprint.image_size)
    first, second, third, last = widths
    stem = nn.Sequential(
        layer.Conv2d(blueprint.channels, first // 2, 7, strides[0], padding=3), layer.BatchNorm2d(first // 2)
    )
    classifier = layer.Linear(last, blueprint.num_classes)
    nn.init.normal_(classifier.weight, std=0.02)
    nn.init.zeros_(classifier.bias)
    body = nn.Sequential(
        conv_block(first // 2, neuron),
        shrink(first // 2, first, strides[1], neuron),
        conv_block(first, neuron),
        shrink(first, second, strides[2], neuron),
        conv_block(second, neuron),
        conv_block(second, neuron),
        shrink(second, third, strides[3], neuron),
        *(transformer_block(third, neuron) for _ in range(DEPTHS[0])),
        shrink(third, last, 1, neuron),
        *(transformer_block(last, neuron) for _ in range(DEPTHS[1])),
        layer.AdaptiveAvgPool2d(1),
        layer.Flatten(start_dim=1),
        neuron(),
        classifier,
    )
    return stem, body


def _strides(image_size: int) -> tuple[int, int, int, int]:
    """Return the strides of the stem and the next three reductions: the last ones are 2, as size allows."""
    halvings = min((image_size // POSITIONS).bit_length() - 1, 4)
    return tuple(2 if step >= 4 - max(halvings, 0) else 1 for step in range(4))  # type: ignore[return-value]


class Residual(nn.Sequential):
    """x + f(x), where f is the sequence of modules."""

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = super().forward(x)
        return x + branch


def shrink(inputs: int, outputs: int, stride: int, neuron: Neuron) -> nn.Sequential:
    """Return neurons, a 3x3 convolution and batch norm; output [T, B, outputs, H / stride, W / stride]."""
    conv = layer.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(neuron(), conv, layer.BatchNorm2d(outputs))


def conv_block(width: int, neuron: Neuron) -> nn.Sequential:
    """Return SepConv and ChannelConv, for currents [T, B, D, H, W].

    SepConv mixes positions. It is MobileNetV2's inverted separable convolution: a 1x1 convolution to twice
    the channels, a 7x7 depthwise convolution, and a 1x1 convolution back. ChannelConv mixes channels.
    """
    inner, wide = 2 * width, EXPANSION * width
    sep_conv = Residual(
        neuron(),
        layer.Conv2d(width, inner, 1, bias=False),
        layer.BatchNorm2d(inner),
        neuron(),
        layer.Conv2d(inner, inner, 7, padding=3, groups=inner, bias=False),
        layer.Conv2d(inner, width, 1, bias=False),
        layer.BatchNorm2d(width),
    )
    channel_conv = Residual(
        neuron(),
        layer.Conv2d(width, wide, 3, padding=1, bias=False),
        layer.BatchNorm2d(wide),
        neuron(),
        layer.Conv2d(wide, width, 3, padding=1, bias=False),
        layer.BatchNorm2d(width),
    )
    return nn.Sequential(sep_conv, channel_conv)


def transformer_block(width: int, neuron: Neuron) -> nn.Sequential:
    """Return attention, which mixes positions, and ChannelMLP, for currents [T, B, D, H, W]."""
    wide = EXPANSION * width
    attention = Residual(neuron(), Attention(width, neuron))
    channel_mlp = Residual(
        neuron(),
        layer.Conv2d(width, wide, 1),
        layer.BatchNorm2d(wide),
        neuron(),
        layer.Conv2d(wide, width, 1),
        layer.BatchNorm2d(width),
    )
    return nn.Sequential(attention, channel_mlp)


class Attention(nn.Module):
    """Spike-driven self-attention (SDSA-3 of the paper), from [T, B, D, H, W] to [T, B, D, H, W].

    Each head computes Q (Kᵀ V) from spike matrices Q, K and V with N positions and d channels. That takes
    N d² operations, where softmax(Q Kᵀ) V takes N² d. The neurons after it have half the threshold of the
    network's other neurons.

    Args:
        width: D, a multiple of the number of heads.
        neuron: a function that returns a new layer of neurons.
    """

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Sequential(*rep_conv_norm(width), neuron()) for _ in range(3))
        sensitive: Any = neuron()
        sensitive.v_threshold /= 2
        self.neuron: nn.Module = sensitive
        self.projection = rep_conv_norm(width)

    def forward(self, x: Tensor) -> Tensor:
        heads = (*x.shape[:2], HEADS, x.shape[2] // HEADS, -1)  # [T, B, heads, d, N]: channels by positions
        q, k, v = (branch(x).reshape(heads) for branch in (self.q, self.k, self.v))
        attended = (v @ k.mT) @ q * SCALE
        result: Tensor = self.projection(self.neuron(attended.reshape(x.shape)))
        return result


def rep_conv_norm(width: int) -> nn.Sequential:
    return nn.Sequential(RepConv(width), layer.BatchNorm2d(width))


class RepConv(nn.Sequential):
    """A re-parameterised 3x3 convolution, from [T, B, D, H, W] to [T, B, D, H, W].

    In training it is a 1x1 convolution, batch norm, a 3x3 depthwise convolution, a 1x1 convolution and batch
    norm, because these train better than one convolution. `merged` returns the equivalent convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            layer.Conv2d(width, width, 1, bias=False),
            PaddedBatchNorm2d(width),
            layer.Conv2d(width, width, 3, groups=width, bias=False),
            layer.Conv2d(width, width, 1, bias=False),
            layer.BatchNorm2d(width),
        )

    @torch.no_grad()
    def merged(self) -> layer.Conv2d:
        """Return the 3x3 convolution with bias that is equivalent in evaluation mode."""
        parts: list[Any] = list(self)
        before, norm, spread, after, last = parts
        width = last.num_features
        first_scale, first_shift = _scale_and_shift(norm)
        scale, shift = _scale_and_shift(last)
        # For a channel m between the 1x1 convolutions: its weight for each input i, its 3x3 kernel, and its
        # weight in each output o.
        into = first_scale[:, None] * before.weight.flatten(1)
        kernels = spread.weight.squeeze(1)
        out = scale[:, None] * after.weight.flatten(1)
        conv = layer.Conv2d(width, width, 3, padding=1, step_mode=last.step_mode)
        conv.to(out.device, out.dtype)
        conv.weight.copy_(torch.einsum("om,mhw,mi->oihw", out, kernels, into))
        conv.bias.copy_(shift + out @ (first_shift * kernels.sum(dim=(1, 2))))
        return conv


class PaddedBatchNorm2d(layer.BatchNorm2d):
    """Batch norm that pads its output by one pixel, with its value for an input of 0 in evaluation mode.

    An unpadded convolution of the output is then equivalent to padding the input with zeros, which `merged`
    needs.
    """

    def forward(self, x: Tensor) -> Tensor:
        normed = super().forward(x)
        border = _scale_and_shift(self)[1].detach().to(normed.dtype)[:, None, None]
        padded: Tensor = pad(normed - border, (1, 1, 1, 1)) + border
        return padded


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift of each channel: in evaluation mode, batch norm computes scale * x + shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - scale * norm.running_mean
