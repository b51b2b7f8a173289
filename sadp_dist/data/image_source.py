"""A map-style dataset of labelled images, whatever kind of file the images are in."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from sadp_dist.errors import UsageError

SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
"""Names of folders, and beginnings of the names of parquet files, that mean a split."""

Labels = npt.NDArray[np.int64]


class ImageSource(ABC):
    """A map-style dataset of labelled images.

    Attributes:
        name: where the images come from, for messages.
        classes: the class names over all splits of the source; label k is `classes[k]`, in whichever split.
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
        """The image, RGB, and its label. A file that is not an image is a `UsageError` that names it."""
        encoded = self.encoded(index)
        try:
            image = Image.open(io.BytesIO(encoded)).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise self._damaged(index, error) from error
        return image, int(self.labels[index])

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """The image file's bytes as they are stored."""

    def _damaged(self, index: int, error: Exception) -> UsageError:
        reason = " ".join(str(error).split())
        return UsageError(
            f"{self.name}: image {self.paths[index]} cannot be read ({reason}); replace it or take it out"
        )
