"""Open the images that a command shows beside the scores of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.data import ImageSource, open_images
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.loading.beton_images import BetonImages


def open_shown_images(source: str, split: str | None) -> ImageSource | BetonImages:
    """Open the training images of a run: a .beton file, or what `open_images` reads.

    Raises:
        UsageError: they do not exist or cannot be read, or `split` is given for a .beton file.
        MissingExtra: a package that reads them is not installed.
    """
    if not source.endswith(".beton"):
        return open_images(source, split)
    if split is not None:
        raise UsageError(f"--split {split}: a .beton file holds one split; leave it out")
    from sadp_dist.loading.beton_images import BetonImages

    return BetonImages(source)
