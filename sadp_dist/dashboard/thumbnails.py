"""Thumbnails of the training images."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image

from sadp_dist.dashboard.query_cache import QueryCache
from sadp_dist.data import open_images
from sadp_dist.errors import UsageError

KEPT = 512
SMALLEST, LARGEST = 16, 256
"""Sides of a thumbnail in pixels."""


class NoSuchImage(LookupError):
    """There is no image with this index, or it is damaged."""


class Thumbnails:
    """Training images by index.

    They are shown for the runs with the same number of examples. A request contains an index, never a path.

    Args:
        source, split: as for `open_images`.

    Raises:
        UsageError, MissingExtra: as `open_images` does.
    """

    def __init__(self, source: str, split: str | None) -> None:
        self._images = open_images(source, split)
        self._cache = QueryCache(f"--images {source}")
        self._thumbnail = lru_cache(KEPT)(self._draw)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def classes(self) -> list[str]:
        """Class names by label."""
        return self._images.classes

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
