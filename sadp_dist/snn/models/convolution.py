"""Convolution and batch norm, the current that a layer sends to the neurons above it."""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn


def conv_norm(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """[t, B, inputs, H, W] to [t, B, outputs, H / stride, W / stride], rounded up; He initialisation."""
    conv = layer.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, layer.BatchNorm2d(outputs))
