"""Read single examples of a .beton as images to show, without FFCV's loader."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from sadp_dist.data.draw_sequence import draw_sequence
from sadp_dist.errors import UsageError
from sadp_dist.loading.beton import FRAMES, IMAGE, LABEL, column, open_beton, positions
from sadp_dist.loading.beton_arrays import BetonArrays

JPEG = 0
"""Mode of an image that FFCV stored as JPEG (`ffcv.fields.rgb_image.IMAGE_MODES`)."""


class BetonImages:
    """The examples of a .beton as a map-style dataset of (RGB PIL image, label); arrays are drawn.

    Args:
        path: a file with the fields `image` or `frames`, `label` and `index`.

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

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if self._arrays is not None:
            array, label = self._arrays[index]
            return draw_sequence(array), label
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
