"""Checks and memory layouts of sequences, such as event frames and audio."""

from __future__ import annotations

import torch
from torch import Tensor

from sadp_dist.data.config import DataConfig
from sadp_dist.errors import UsageError

OF_IMAGES = ("image_size", "mean", "std", "augment", "autoaugment", "cutout")
"""Keys of the ``data:`` section that apply to images only."""


def check_sequences(config: DataConfig, path: str, shape: tuple[int, ...], time_steps: int) -> None:
    """Refuse sequences that no network supports, and options that apply to images only.

    Args:
        config: the ``data:`` section.
        path: path of the file, for messages.
        shape: shape of an example.
        time_steps: T of the network.

    Raises:
        UsageError: the shape is neither (T, C, H, W) with H = W nor (T, F); T is not that of the network; or
            an option that applies to images only is set.
    """
    shown = " x ".join(map(str, shape))
    if len(shape) not in (2, 4) or (len(shape) == 4 and shape[2] != shape[3]):
        raise UsageError(f"{path} has arrays of {shown}; they must be T x C x H x H or T x F")
    if shape[0] != time_steps:
        other = f", or write it again with --time-steps {time_steps}" if len(shape) == 4 else ""
        raise UsageError(
            f"network.time_steps={time_steps}, but {path} has {shape[0]} time steps ({shown}); set "
            f"network.time_steps={shape[0]}{other}"
        )
    own_size = shape[-1] if len(shape) == 4 else 1
    for option in OF_IMAGES:
        value = getattr(config, option)
        given = value != type(config).model_fields[option].default
        if given and not (option == "image_size" and value == own_size):
            raise UsageError(
                f"data.{option}={value} applies to images only, but {path} has sequences ({shown}); "
                f"remove data.{option}"
            )


def time_first(sequences: Tensor) -> Tensor:
    """Return sequences (B, T, ...) of any dtype as float32 [T, B, ...], contiguous; one pass over memory."""
    return sequences.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


def merged(sequences: Tensor, time_steps: int) -> Tensor:
    """Return sequences [T, B, ...] as [time_steps, B, ...]: the mean of each of T / time_steps steps."""
    if len(sequences) == time_steps:
        return sequences
    means: Tensor = sequences.unflatten(0, (time_steps, -1)).mean(1)
    return means


def laid_out(inputs: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Return images [B, C, H, W] or frames [T, B, C, H, W] in a memory format; [T, B, F] as they are."""
    if inputs.ndim < 4:
        return inputs
    images = inputs.flatten(0, -4).contiguous(memory_format=memory_format)
    lead = inputs.shape[:-3]
    return images if len(lead) == 1 else images.view(*lead, *images.shape[1:])
