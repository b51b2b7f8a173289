"""Open labelled images: an ImageFolder folder, a .zip of one, or parquet files.

Each source gives `(PIL image in RGB, label)` for an index and knows every label without decoding an image.
You can pass a source to worker processes: each process opens its own file handles.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from sadp_dist.data.image_files import FolderImages, ZipImages
from sadp_dist.data.image_source import ImageSource
from sadp_dist.data.parquet_images import ParquetImages
from sadp_dist.errors import UsageError


def open_images(source: str | Path, split: str | None = None) -> ImageSource:
    """Open labelled images.

    Args:
        source: an ImageFolder folder (`<class>/<image>`), a .zip of one, a .parquet file or a folder of
            them (columns `image`, as bytes or as Hugging Face writes it, and `label`).
        split: the sub-folder to read, such as "train"; for parquet, the prefix of the file names. Required
            if the source has several splits.

    Raises:
        UsageError: the source does not exist or has no image, or the split is missing or unknown.
        MissingExtra: the source is parquet and pyarrow is not installed.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(f"source {str(path)!r} does not exist; give a folder, a .zip or a .parquet")
    if path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))):
        return ParquetImages(path, split)
    if path.is_dir():
        return FolderImages(path, split)
    if zipfile.is_zipfile(path):
        return ZipImages(path, split)
    raise UsageError(f"source {str(path)!r} is not a folder, a readable .zip or a .parquet file")
