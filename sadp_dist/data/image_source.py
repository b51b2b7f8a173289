"""The base class of every source of labelled images: a folder, an archive or parquet files."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
"""Folders, and prefixes of parquet files, that are taken for a split."""

Labels = npt.NDArray[np.int64]


class ImageSource(ABC):
    """A map-style dataset of labelled images.

    Attributes:
        name: the source of the images, for messages.
        classes: the class names of all splits of the source; label k is `classes[k]` in every split.
        labels: int64 (N,).
        paths: the name of every image within the source, (N,).
    """

    def __init__(self, name: str, classes: Sequence[str], labels: Labels, paths: Sequence[str]) -> None:
        self.name = name
        self.classes = list(classes)
        self.labels = labels
        self.paths = paths

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return the RGB image and its label. A damaged file raises a `UsageError` that names it."""
        from PIL import Image  # not at the top: a configuration is checked without Pillow

        encoded = self.encoded(index)
        try:
            image = Image.open(io.BytesIO(encoded)).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise self._damaged(index, error) from error
        return image, int(self.labels[index])

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file as stored."""

    def _damaged(self, index: int, error: Exception) -> UsageError:
        reason = " ".join(str(error).split())
        return UsageError(
            f"{self.name}: image {self.paths[index]} cannot be read ({reason}); replace or remove it"
        )
