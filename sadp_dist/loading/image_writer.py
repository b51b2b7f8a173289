"""Write labelled images and their indices to FFCV's .beton files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sadp_dist.data.images import open_images
from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.beton import IMAGE, INDEX, LABEL
from sadp_dist.loading.beton_writer import check_writing, write_examples
from sadp_dist.loading.ffcv_import import importing_ffcv
from sadp_dist.loading.file_description import describe
from sadp_dist.loading.image_pixels import pixels_of
from sadp_dist.loading.image_planes import write_planes

try:
    with importing_ffcv():
        from ffcv.fields import IntField, RGBImageField
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

ImageFormat = Literal["raw", "jpg", "smart"]
SMART_THRESHOLD = 1 << 16
"""Bytes; 147 x 147 pixels."""


def write_beton(
    source: Any,
    out: str | Path,
    split: str | None = None,
    image_format: ImageFormat = "smart",
    max_side: int | None = None,
    quality: int = 90,
    smart_threshold: int = SMART_THRESHOLD,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    kind: str | None = None,
    channels: int = 3,
) -> int:
    """Write labelled images to a .beton with the fields `image`, `label` and `index`.

    The file gets its name when it is complete. It also holds a description, see `beton_description`.

    Args:
        source: a path that `open_images` reads, or a map-style dataset of (PIL image or uint8 array (H, W,
            3), label).
        out: the file to write; an existing file is replaced.
        split: the split of a source that is a path, such as "train".
        image_format: "raw" pixels (fast to read, for small images), "jpg", or "smart": JPEG for images whose
            raw pixels would take more than `smart_threshold` bytes.
        max_side: images with a longer side are resized to this many pixels; None keeps every size.
        quality: JPEG quality, 1 to 100.
        workers: the number of processes, by default the number of cores.
        progress: called repeatedly with the number of images written since its last call.
        kind: the kind of the source in the description, by default the source's own.

        channels: 3 stores RGB images. 1 (grey) and 4 (RGBA) store raw pixels as arrays (C, H, W) in the field
            `frames`, which FFCV's images cannot be: all images then need the same size.

    Returns:
        The number of images written.

    Raises:
        UsageError: an argument is out of range, the source has no images, or an image cannot be read.
    """
    if image_format not in ("raw", "jpg", "smart"):
        raise UsageError(f"image_format={image_format!r}: must be 'raw', 'jpg' or 'smart'")
    if max_side is not None and max_side < 1:
        raise UsageError(f"max_side={max_side}: must be at least 1 pixel, or left out")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality={quality}: must be from 1 to 100")
    out = check_writing(out, workers)
    if split is not None and not isinstance(source, str | Path):
        raise UsageError(f"split={split!r}: only a source that is a path has splits; leave it out")
    if channels not in (1, 3, 4):
        raise UsageError(f"channels={channels}: must be 1 (grey), 3 (RGB) or 4 (RGBA)")
    images = open_images(source, split, channels=channels) if isinstance(source, str | Path) else source
    if len(images) == 0:
        raise UsageError("source: has no images")
    if channels != 3:
        if image_format == "jpg" or max_side is not None:
            raise UsageError(
                f"channels={channels} stores raw pixels; leave out image_format='jpg' and max_side"
            )
        return write_planes(images, out, channels, workers, progress, kind)

    fields = {
        IMAGE: RGBImageField(
            write_mode=image_format,
            max_resolution=max_side,
            smart_threshold=smart_threshold,
            jpeg_quality=quality,
        ),
        LABEL: IntField(),
        INDEX: IntField(),
    }
    description = describe(images, len(images), kind)
    write_examples(_Examples(images), fields, out, workers, progress, description)
    return len(images)


class _Examples:
    """A map-style dataset of (pixels, label, index)."""

    def __init__(self, images: Any) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int, int]:
        image, label = self._images[int(index)]
        pixels = pixels_of(image, 3, index)
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
            raise UsageError(
                f"source: image {index} is {pixels.dtype} {pixels.shape}; must be PIL or uint8 (H, W, 3)"
            )
        return pixels, int(label), int(index)
