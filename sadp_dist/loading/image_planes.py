"""Write grey and RGBA images, which FFCV's field of images cannot hold, as arrays (C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sadp_dist.errors import UsageError
from sadp_dist.loading.beton_arrays import write_arrays
from sadp_dist.loading.image_pixels import pixels_of


def write_planes(
    images: Any,
    out: str | Path,
    channels: int,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    kind: str | None = None,
) -> int:
    """Write images of one size as uint8 arrays (C, H, W), in the field `frames`.

    Args:
        images: a map-style dataset of (PIL image or uint8 array (H, W) or (H, W, C), label).
        out: the file to write.
        channels: 1 or 4.
        workers, progress, kind: as for `write_arrays`.

    Returns:
        The number of images.

    Raises:
        UsageError: images have different sizes or numbers of channels.
    """
    return write_arrays(_Planes(images, channels), out, workers, progress, kind)


class _Planes:
    """Images as arrays (C, H, W); the attributes that describe the source are its own."""

    def __init__(self, images: Any, channels: int) -> None:
        self._images, self._channels = images, channels
        for name in ("classes", "kind", "left_out", "fingerprint"):
            if hasattr(images, name):
                setattr(self, name, getattr(images, name))
        self._shape = self[0][0].shape

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        image, label = self._images[index]
        pixels = pixels_of(image, self._channels, index)
        planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        if planes.dtype != np.uint8 or planes.ndim != 3 or len(planes) != self._channels:
            raise UsageError(
                f"source: image {index} is {pixels.dtype} {pixels.shape}; must be PIL or uint8 of "
                f"{self._channels} channel(s)"
            )
        if planes.shape != getattr(self, "_shape", planes.shape):
            (_, height, width), (_, first_height, first_width) = planes.shape, self._shape
            raise UsageError(
                f"channels={self._channels}: all images must have the same size, but image {index} has "
                f"{width} x {height} pixels and the first one {first_width} x {first_height}; resize them, "
                "or use 3 channels"
            )
        return np.ascontiguousarray(planes), int(label)
