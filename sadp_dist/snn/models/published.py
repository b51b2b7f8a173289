"""Published weights: what others call the tensors of a network, and what they are called here."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Weights = dict[str, Tensor]

_META_SPIKEFORMER = {
    "downsample1_1.": "stem.",
    "ConvBlock1_1.0.": "body.0.",
    "downsample1_2.": "body.1.",
    "ConvBlock1_2.0.": "body.2.",
    "downsample2.": "body.3.",
    "ConvBlock2_1.0.": "body.4.",
    "ConvBlock2_2.0.": "body.5.",
    "downsample3.": "body.6.",
    **{f"block3.{index}.": f"body.{7 + index}." for index in range(6)},
    "downsample4.": "body.13.",
    **{f"block4.{index}.": f"body.{14 + index}." for index in range(2)},
    "head.": "body.19.",
}
"""Beginnings of the names in Spike-Driven-Transformer-V2's checkpoints; what follows is in the next table."""

_REP_CONV = {
    "0.body.0.": "0.0.",
    "0.body.1.bn.": "0.1.",
    "0.body.2.0.": "0.2.",
    "0.body.2.1.": "0.3.",
    "0.body.2.2.": "0.4.",
    "1.": "1.",
}

_BLOCKS = {
    # downsampling, behind its neurons
    "encode_conv.": "1.",
    "encode_bn.": "2.",
    # of a convolution block: SepConv, then ChannelConv
    "Conv.pwconv1.": "0.1.",
    "Conv.bn1.": "0.2.",
    "Conv.dwconv.": "0.4.",
    "Conv.pwconv2.": "0.5.",
    "Conv.bn2.": "0.6.",
    "conv1.": "1.1.",
    "bn1.": "1.2.",
    "conv2.": "1.4.",
    "bn2.": "1.5.",
    # of a transformer block: attention, then ChannelMLP
    **{
        f"attn.{theirs}_conv.{name}": f"0.1.{ours}.{ours_name}"
        for theirs, ours in {"q": "q", "k": "k", "v": "v", "proj": "projection"}.items()
        for name, ours_name in _REP_CONV.items()
    },
    "mlp.fc1_conv.": "1.1.",
    "mlp.fc1_bn.": "1.2.",
    "mlp.fc2_conv.": "1.4.",
    "mlp.fc2_bn.": "1.5.",
}

_STEM = {"encode_conv.": "0.", "encode_bn.": "1."}  # no neurons come before it


def meta_spikeformer(published: Weights) -> Weights:
    """Weights of Meta-SpikeFormer in Spike-Driven-Transformer-V2's checkpoints, as they are called here.

    A checkpoint that was fine-tuned with a teacher has two classifiers, whose mean is the network's answer.
    Both are linear and see the same, so one with the mean of their weights answers the same.

    Raises:
        KeyError: a name that is in no such checkpoint.
    """
    weights = {}
    for name, tensor in published.items():
        if name.startswith("head_kd."):
            continue
        if (
            name.startswith("head.")
            and (second := published.get(name.replace("head.", "head_kd."))) is not None
        ):
            tensor = (tensor + second) / 2
        place, inner = _renamed(name, _META_SPIKEFORMER)
        if inner not in ("weight", "bias"):  # but of the classifier
            part, inner = _renamed(inner, _STEM if place == "stem." else _BLOCKS)
            place += part
        # Their ChannelMLP is of Conv1d over positions in a row, [K, D, 1]; ours of 1x1 Conv2d.
        weights[place + inner] = tensor[..., None] if tensor.dim() == 3 else tensor
    return weights


def resnet(published: Weights) -> Weights:
    """Weights of SpikingJelly's Spiking ResNet and SEW-ResNet, or torchvision's ResNet, as they are here."""
    stem = {"conv1.": "stem.0.", "bn1.": "stem.1."}
    weights = {}
    for name, tensor in published.items():
        start = next((start for start in stem if name.startswith(start)), None)
        weights[f"body.{name}" if start is None else stem[start] + name.removeprefix(start)] = tensor
    return weights


FORMATS: dict[str, Callable[[Weights], Weights]] = {
    "downsample1_1.encode_conv.weight": meta_spikeformer,
    "layer1.0.conv1.weight": resnet,
}
"""A name that tells a published format, and what turns its names into ours."""


def our_names(weights: Weights) -> Weights:
    """Weights under our names, whatever format they are in; those of no known format as they are.

    Args:
        weights: names and tensors; "module." before each name, of data-parallel training, does no harm.

    Raises:
        KeyError: a known format with a name that does not belong to it.
    """
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    for telling, convert in FORMATS.items():
        if telling in weights:
            return convert(weights)
    return weights


def _renamed(name: str, table: dict[str, str]) -> tuple[str, str]:
    """What a name's beginning is called here, and the rest of the name."""
    for theirs, ours in table.items():
        if name.startswith(theirs):
            return ours, name.removeprefix(theirs)
    raise KeyError(name)
