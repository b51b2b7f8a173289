"""Open labelled images: an ImageFolder folder, a .zip of one, or parquet files.

Each source gives `(PIL image, label)` for an index and knows every label without decoding an image.
You can pass a source to worker processes: each process opens its own file handles.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sadp_dist.data.file_tree import FileTree, list_folder
from sadp_dist.data.image_files import FolderImages, ZipImages
from sadp_dist.data.image_source import ImageSource, by_reason
from sadp_dist.data.parquet_images import ParquetImages
from sadp_dist.data.split_names import UnknownSplit
from sadp_dist.errors import MissingExtra, UsageError


def open_images(
    source: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    channels: int = 3,
    image_column: str | None = None,
    label_column: str | None = None,
) -> ImageSource:
    """Open labelled images.

    Args:
        source: an ImageFolder folder (`<class>/<image>`), a .zip of one, a .parquet file or a folder of
            them (columns `image`, as bytes or as Hugging Face writes it, and `label`).
        split: the sub-folder to read, such as "train"; for parquet, the first word of the file names or the
            name of their folder. Required if the source has several splits. "." takes the sub-folders of the
            source for classes, whatever they look like, as torchvision's ImageFolder does.
        classes: the names that labels number: label k is `classes[k]`. By default, the source's own.
        channels: 1 gives grey images, 3 RGB and 4 RGBA.
        image_column: the column of images in parquet files, by default one of the usual names.
        label_column: the column of labels in parquet files, by default one of the usual names.

    Raises:
        UsageError: the source does not exist or has no image, the split is missing or unknown, or the source
            has images of a class that is not among `classes`.
        MissingExtra: the source is parquet and pyarrow is not installed.
    """
    if channels not in (1, 3, 4):
        raise UsageError(f"channels={channels!r}: must be 1 (grey), 3 (RGB) or 4 (RGBA)")
    if split is not None and not split.strip("/"):
        raise UsageError(f"split={split!r}: must be the name of a split, such as 'train'; or leave it out")
    images = _open(Path(source).expanduser(), split, image_column, label_column)
    images.channels = channels
    return images if classes is None else images.numbered(classes)


def open_validation_images(source: Path) -> ImageSource:
    """Open the split "val", which is also called "validation" or "valid"."""
    for name in ("val", "validation", "valid"):
        with suppress(UnknownSplit):
            return open_images(source, name)
    return open_images(source, "val")  # for its message


def _open(path: Path, split: str | None, image_column: str | None, label_column: str | None) -> ImageSource:
    if not path.exists():
        raise UsageError(f"source {str(path)!r} does not exist; give a folder, a .zip or a .parquet")
    columns = (image_column, label_column)
    if path.suffix == ".parquet" and path.is_file():
        return ParquetImages(path, [path.name], split, *columns)
    tree = list_folder(path) if path.is_dir() else None
    if tree is not None and tree.parquet:
        return _open_parquet(path, tree, split, *columns)
    if columns != (None, None):
        raise UsageError(
            f"image_column and label_column are for parquet; {str(path)!r} is none; leave them out"
        )
    if tree is not None:
        return FolderImages(path, tree, split)
    if zipfile.is_zipfile(path):
        return ZipImages(path, split)
    raise UsageError(f"source {str(path)!r} is not a folder, a readable .zip or a .parquet file")


def _open_parquet(
    path: Path, tree: FileTree, split: str | None, image_column: str | None, label_column: str | None
) -> ImageSource:
    images = [("image beside parquet files", image) for image in tree.image_paths()]
    left_out = by_reason([*tree.left_out, *images])
    try:
        return ParquetImages(path, tree.parquet, split, image_column, label_column, left_out)
    except UsageError as error:
        if isinstance(error, MissingExtra) or not any("/" in image for _, image in images):
            raise
        raise UsageError(
            f"{error}. To read the {len(images):,} image files instead, move the parquet files elsewhere"
        ) from error
