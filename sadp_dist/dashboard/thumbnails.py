"""Thumbnails of the training images."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache

from PIL import Image

from sadp_dist.dashboard.query_cache import QueryCache
from sadp_dist.data.fingerprints import check_data_of_run, fingerprints_of
from sadp_dist.errors import UsageError
from sadp_dist.loading.shown_images import open_shown_images

KEPT = 512
SMALLEST, LARGEST = 16, 256
"""Sides of a thumbnail in pixels."""


class NoSuchImage(LookupError):
    """There is no image with this index, or it is damaged."""


class Thumbnails:
    """Training images by index.

    They are shown for the runs that trained on them. A request contains an index, never a path.

    Args:
        source, split: as for `open_shown_images`.

    Attributes:
        fingerprints: of the images, by kind.

    Raises:
        UsageError, MissingExtra: as `open_shown_images` does.
    """

    def __init__(self, source: str, split: str | None) -> None:
        self._images = open_shown_images(source, split)
        self._name = f"--images {source}"
        self._cache = QueryCache(self._name)
        self.fingerprints = fingerprints_of(self._images)
        self._thumbnail = lru_cache(KEPT)(self._draw)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def classes(self) -> list[str]:
        """Class names by label; empty if the images have none."""
        return self._images.classes or []

    def problem_with(self, dataset_size: int, data: Mapping[str, str]) -> str | None:
        """Return why these are not the images of a run, in one line; None if they are.

        Args:
            dataset_size: N of the run.
            data: fingerprints of its data, from its `stats()`.
        """
        try:
            check_data_of_run(self._name, self, dataset_size, data)
        except UsageError as error:
            return str(error)
        return None

    def label(self, index: int) -> int:
        """Return the label of an example."""
        return int(self._images.labels[index])

    async def thumbnail(self, index: int, size: int) -> bytes:
        """Return an image as PNG, at most `size` pixels wide and high.

        Raises:
            NoSuchImage: there is no image with this index, or it is damaged.
            StoreUnavailable: reading it takes too long.
        """
        if not 0 <= index < len(self):
            raise NoSuchImage(f"image {index} does not exist; the index must be 0 to {len(self) - 1:,}")
        return await self._cache.ask((index, size), lambda: self._thumbnail(index, size))

    def _draw(self, index: int, size: int) -> bytes:
        try:
            image, _ = self._images[index]
            image.thumbnail((size, size), Image.Resampling.LANCZOS)
        except (UsageError, OSError) as error:
            raise NoSuchImage(" ".join(str(error).split())) from None
        file = io.BytesIO()
        image.save(file, "png")
        return file.getvalue()
