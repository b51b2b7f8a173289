"""Decode images to 8-bit grey, RGB or RGBA pixels that mean what the file's pixels mean.

| pixels of the file | become |
| --- | --- |
| 1 bit | 0 and 255 |
| 8-bit grey, RGB, RGBA, palette, CMYK, YCbCr, LAB | what Pillow's `convert` gives |
| 16-bit grey | divided by 257: 65535 becomes 255 |
| 32-bit float from 0 to 1 | multiplied by 255 |
| other floats, 32-bit integers | refused |

Grey and RGB images lose the alpha channel; the colours under it stay as they are. RGBA images without
transparency have an alpha of 255. Grey is 0.299 R + 0.587 G + 0.114 B. An EXIF orientation is not applied, as
in torchvision's ImageFolder. Of several frames or pages, the first is read.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for a number of channels."""

LFS_POINTER = b"version https://git-lfs"


class Unreadable(ValueError):
    """The bytes are no image, or its pixels have no known range. The message is the reason, in one line."""


def decode(encoded: bytes, channels: int) -> Image.Image:
    """Return an image with 1, 3 or 4 channels of 8 bits.

    Args:
        encoded: the bytes of an image file.
        channels: 1, 3 or 4.

    Raises:
        Unreadable: it is damaged, or has pixels of another kind.
    """
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
        return with_channels(image, channels)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise what a damaged file happens to cause
        raise Unreadable(_reason(encoded, error)) from error


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return an image of any mode with 1, 3 or 4 channels of 8 bits.

    Raises:
        Unreadable: its pixels have no known range.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bits(image)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # Pillow warns of a palette with alpha that becomes RGB
    elif image.mode == "LAB":
        image = image.convert("RGB")  # Pillow makes no grey of it
    return image.convert(MODES[channels])


def _to_8_bits(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    if image.mode == "F":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # NaN too
            raise Unreadable(
                f"mode F: 32-bit float pixels from {low:g} to {high:g}; only 0 to 1 has a known meaning"
            )
        return Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))
    # Pillow opens 16-bit .pgm, and older versions 16-bit .png, as 32-bit integers.
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise Unreadable("mode I: 32-bit integer pixels have no known range")
    return Image.fromarray(((pixels.astype(np.int64) + 128) // 257).astype(np.uint8))


def _reason(encoded: bytes, error: Exception) -> str:
    if not encoded:
        return "the file is empty"
    if encoded.startswith(LFS_POINTER):
        return "a Git LFS pointer; run: git lfs pull"
    if isinstance(error, UnidentifiedImageError):  # its message has the memory address of the bytes
        return "damaged, or a format that Pillow does not know"
    return " ".join(str(error).split()) or type(error).__name__
