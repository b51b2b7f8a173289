"""A convolution with batch norm: the input currents of a layer of neurons."""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn


def conv_norm(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch norm.

    It maps [t, B, inputs, H, W] to [t, B, outputs, ⌈H / stride⌉, ⌈W / stride⌉] for odd kernel sizes. Weights
    are initialised as by He et al. (2015).
    """
    conv = layer.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, layer.BatchNorm2d(outputs))
