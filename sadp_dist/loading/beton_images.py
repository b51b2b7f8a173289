"""Read single examples of a .beton as images to show, without FFCV's loader."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sadp_dist.data.draw_sequence import draw_sequence
from sadp_dist.errors import UsageError
from sadp_dist.loading.beton import (
    FRAMES,
    IMAGE,
    JPEG,
    LABEL,
    beton_classes,
    beton_fingerprints,
    column,
    open_beton,
    positions,
)
from sadp_dist.loading.beton_arrays import BetonArrays, beton_holds_planes


class BetonImages:
    """The examples of a .beton as a map-style dataset of (PIL image, label); sequences are drawn.

    Args:
        path: a file with the fields `image` or `frames`, `label` and `index`.

    Attributes:
        classes: the class names, by label; None if the file has none.
        labels: int64 (N,).
        fingerprints: by kind, see `beton_fingerprints`.

    Raises:
        UsageError: the file is missing or damaged, or lacks one of these fields.
        MissingExtra: FFCV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        reader = open_beton(path)
        self._path = Path(reader.file_name)
        self._positions = positions(reader)
        self._arrays = BetonArrays(path) if FRAMES in reader.field_names else None
        self._images = column(reader, IMAGE) if self._arrays is None else None
        self._labels = column(reader, LABEL)
        self._allocated = reader.alloc_table
        self.labels = self._labels[self._positions]
        self._planes = beton_holds_planes(path)
        classes = beton_classes(path)
        self.classes = None if classes is None else list(classes)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        return beton_fingerprints(self._path)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if self._arrays is not None:
            array, label = self._arrays[index]
            return draw_planes(array) if self._planes else draw_sequence(array), label
        assert self._images is not None
        place = self._positions[index]
        stored, label = self._images[place], int(self._labels[place])
        height, width, start = int(stored["height"]), int(stored["width"]), int(stored["data_ptr"])
        size = self._allocated["size"][self._allocated["ptr"] == start]
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                encoded = file.read(int(size[0]))
            if stored["mode"] == JPEG:
                return Image.open(io.BytesIO(encoded)).convert("RGB"), label
            pixels = np.frombuffer(encoded, np.uint8).reshape(height, width, 3)
        except (OSError, IndexError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"beton {str(self._path)!r}: image {index} cannot be read ({reason})") from None
        return Image.fromarray(pixels), label


def draw_planes(planes: NDArray[Any]) -> Image.Image:
    """Return a uint8 array (C, H, W) of 1, 3 or 4 channels as an image: "L", "RGB" or "RGBA"."""
    return Image.fromarray(
        planes[0] if len(planes) == 1 else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    )
