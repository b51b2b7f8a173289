"""The first convolution of a network, fit for the size of its images."""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn

SMALL_IMAGE = 48
"""Side in pixels up to which an image is small (CIFAR's 32, CIFAR10-DVS's 48) and is not shrunk by a stem."""


def conv_stem(channels: int, width: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm, [t, B, channels, H, W] to [t, B, width, H / stride, W / stride]."""
    conv = layer.Conv2d(channels, width, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, layer.BatchNorm2d(width))
