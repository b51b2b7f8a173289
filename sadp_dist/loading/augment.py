"""Augment a batch on its device. The random numbers of an example depend on (seed, epoch, index) alone.

An example is therefore cropped and flipped in the same way on every rank, in every batch and after a resume.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sadp_dist.errors import UsageError
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.selection.random import stream_key


def pad_crop_flip(
    images: Tensor, index: Tensor, epoch: int, seed: int, padding: int = 4, flip: bool = True, cutout: int = 0
) -> Tensor:
    """Pad with zeros, crop to the old size at random, mirror half of the images, zero a random square.

    Args:
        images: (B, C, H, W), any dtype and device.
        index: integers (B,), the index of each example.
        epoch: the epoch, part of the key of the random numbers.
        seed: the seed, part of the key.
        padding: pixels on each side.
        flip: mirror left and right with probability 1/2.
        cutout: side of the square that is set to zero, in pixels (DeVries and Taylor, arXiv:1708.04552); 0
            for none. Its centre is uniform over the image, so part of the square may lie outside.

    Returns:
        (B, C, H, W), with the images' dtype and device. This does not wait for the device.

    Raises:
        UsageError: a shape or a number of pixels is wrong.
    """
    if images.ndim != 4 or index.shape != images.shape[:1]:
        shapes = f"images {tuple(images.shape)}, index {tuple(index.shape)}"
        raise UsageError(f"{shapes}: expected (B, C, H, W) and (B,)")
    if padding < 0 or cutout < 0:
        raise UsageError(f"padding={padding}, cutout={cutout}: must be at least 0")
    height, width = images.shape[2:]
    device = images.device
    epoch_key = int(stream_key(seed, epoch, LoadingStream.AUGMENT))
    key = _bits(index.to(device, torch.int64, non_blocking=True), epoch_key)
    coin, *draws = _shift_right(_bits(torch.arange(5, device=device)[:, None], key), 33)

    mirrored = (coin & 1).bool() if flip else None
    if padding > 0:
        images = _crop(images, padding, draws[0] % (2 * padding + 1), draws[1] % (2 * padding + 1), mirrored)
    elif mirrored is not None:
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if cutout > 0:
        top = draws[2] % height - cutout // 2
        left = draws[3] % width - cutout // 2
        rows = _within(torch.arange(height, device=device), top, cutout)
        columns = _within(torch.arange(width, device=device), left, cutout)
        images = images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)
    return images


def resized(images: Tensor, image_size: int) -> Tensor:
    """Return images of another size, each pixel a weighted mean of those around it, without aliasing.

    Args:
        images: (B, C, H, W), any dtype and device.
        image_size: height and width of the result, in pixels.

    Returns:
        (B, C, image_size, image_size) float32; the images themselves if they have this size.
    """
    side = (image_size, image_size)
    if images.shape[2:] == side:
        return images
    return F.interpolate(images.float(), side, mode="bilinear", align_corners=False, antialias=True)


def _crop(images: Tensor, padding: int, top: Tensor, left: Tensor, mirrored: Tensor | None) -> Tensor:
    batch, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    columns = left[:, None] + columns
    pixels = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).reshape(batch, 1, height * width)
    cropped = padded.reshape(batch, channels, -1).gather(2, pixels.expand(-1, channels, -1))
    return cropped.view(batch, channels, height, width)


def _within(positions: Tensor, start: Tensor, length: int) -> Tensor:
    distance = positions - start[:, None]
    return (distance >= 0) & (distance < length)


def _bits(number: Tensor, key: Tensor | int) -> Tensor:
    """Compute `selection.random.bits` on tensors: int64 arithmetic wraps around like that of uint64."""
    z = (number + 1) * _signed(0x9E3779B97F4A7C15) + (key if isinstance(key, Tensor) else _signed(key))
    z = (z ^ _shift_right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, places: int) -> Tensor:
    """Shift right and insert zeros; >> on a signed tensor inserts the sign."""
    return (z >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
