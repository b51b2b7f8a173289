"""Published weights: converts the tensor names of other projects to those of this one."""

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
"""Prefixes of the names in Spike-Driven-Transformer-V2's checkpoints. `_BLOCKS` has the parts after them."""

_REP_CONV = {
    "0.body.0.": "0.0.",
    "0.body.1.bn.": "0.1.",
    "0.body.2.0.": "0.2.",
    "0.body.2.1.": "0.3.",
    "0.body.2.2.": "0.4.",
    "1.": "1.",
}

_BLOCKS = {
    # reduction, after its neurons
    "encode_conv.": "1.",
    "encode_bn.": "2.",
    # convolution block: SepConv, then ChannelConv
    "Conv.pwconv1.": "0.1.",
    "Conv.bn1.": "0.2.",
    "Conv.dwconv.": "0.4.",
    "Conv.pwconv2.": "0.5.",
    "Conv.bn2.": "0.6.",
    "conv1.": "1.1.",
    "bn1.": "1.2.",
    "conv2.": "1.4.",
    "bn2.": "1.5.",
    # transformer block: attention, then ChannelMLP
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

_STEM = {"encode_conv.": "0.", "encode_bn.": "1."}  # has no neurons before it


def meta_spikeformer(published: Weights) -> Weights:
    """Convert Meta-SpikeFormer weights from a Spike-Driven-Transformer-V2 checkpoint.

    A checkpoint that was fine-tuned with a teacher has two linear classifiers, and its output is their mean.
    They become one classifier with the mean of their weights, which is equivalent.

    Raises:
        KeyError: a name does not belong to such a checkpoint.
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
        if inner not in ("weight", "bias"):  # the classifier's names are complete
            part, inner = _renamed(inner, _STEM if place == "stem." else _BLOCKS)
            place += part
        # Their ChannelMLP uses Conv1d with weights [K, D, 1]; this project uses 1x1 Conv2d.
        weights[place + inner] = tensor[..., None] if tensor.dim() == 3 else tensor
    return weights


def resnet(published: Weights) -> Weights:
    """Convert weights of SpikingJelly's Spiking ResNet and SEW-ResNet, or of torchvision's ResNet."""
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
"""A tensor name that identifies a published format -> the function that converts its weights."""


def our_names(weights: Weights) -> Weights:
    """Return weights with this project's names. Weights of an unknown format are returned as they are.

    Args:
        weights: tensors by name; the prefix "module." of data-parallel training is removed.

    Raises:
        KeyError: the format is known, but a name does not belong to it.
    """
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    for telling, convert in FORMATS.items():
        if telling in weights:
            return convert(weights)
    return weights


def _renamed(name: str, table: dict[str, str]) -> tuple[str, str]:
    """Return this project's name for the prefix of `name`, and the rest of the name."""
    for theirs, ours in table.items():
        if name.startswith(theirs):
            return ours, name.removeprefix(theirs)
    raise KeyError(name)
