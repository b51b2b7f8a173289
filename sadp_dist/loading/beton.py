"""Write labelled images and their indices to FFCV's .beton files, and read the files' metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from sadp_dist.data.images import open_images
from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.beton_writer import check_writing, write_examples
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.fields import IntField, NDArrayField, RGBImageField
        from ffcv.reader import Reader
        from ffcv.types import ALLOC_TABLE_TYPE
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

ImageFormat = Literal["raw", "jpg", "smart"]
IMAGE, FRAMES, LABEL, INDEX = "image", "frames", "label", "index"
SMART_THRESHOLD = 1 << 16
"""Bytes; 147 x 147 pixels."""


def write_beton(
    source: Any,
    out: str | Path,
    split: str | None = None,
    image_format: ImageFormat = "smart",
    max_side: int | None = None,
    quality: int = 90,
    smart_threshold: int = SMART_THRESHOLD,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write labelled images to a .beton with the fields `image`, `label` and `index`.

    The file gets its name when it is complete.

    Args:
        source: a path that `open_images` reads, or a map-style dataset of (PIL image or uint8 array (H, W,
            3), label).
        out: the file to write; an existing file is replaced.
        split: the split of a source that is a path, such as "train".
        image_format: "raw" pixels (fast to read, for small images), "jpg", or "smart": JPEG for images whose
            raw pixels would take more than `smart_threshold` bytes.
        max_side: images with a longer side are resized to this many pixels; None keeps every size.
        quality: JPEG quality, 1 to 100.
        workers: the number of processes, by default the number of cores.
        progress: called repeatedly with the number of images written since its last call.

    Returns:
        The number of images written.

    Raises:
        UsageError: an argument is out of range, the source has no images, or an image cannot be read.
    """
    if image_format not in ("raw", "jpg", "smart"):
        raise UsageError(f"image_format={image_format!r}: must be 'raw', 'jpg' or 'smart'")
    if max_side is not None and max_side < 1:
        raise UsageError(f"max_side={max_side}: must be at least 1 pixel, or left out")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality={quality}: must be from 1 to 100")
    out = check_writing(out, workers)
    if split is not None and not isinstance(source, str | Path):
        raise UsageError(f"split={split!r}: only a source that is a path has splits; leave it out")
    images = open_images(source, split) if isinstance(source, str | Path) else source
    if len(images) == 0:
        raise UsageError("source: has no images")

    fields = {
        IMAGE: RGBImageField(
            write_mode=image_format,
            max_resolution=max_side,
            smart_threshold=smart_threshold,
            jpeg_quality=quality,
        ),
        LABEL: IntField(),
        INDEX: IntField(),
    }
    write_examples(_Examples(images), fields, out, workers, progress)
    return len(images)


def beton_size(path: str | Path) -> int:
    """Return the number of examples."""
    return int(open_beton(path).num_samples)


def beton_fields(path: str | Path) -> dict[str, str]:
    """Return the FFCV class name of every field, in order: `{"image": "RGBImageField", ...}`."""
    return {name: type(field).__name__ for name, field in open_beton(path).handlers.items()}


def beton_labels(path: str | Path) -> npt.NDArray[np.int64]:
    """Return the label of every example, int64 (N,), by index; this reads no image."""
    reader = open_beton(path)
    return column(reader, LABEL)[positions(reader)]


def beton_image_sizes(path: str | Path) -> list[tuple[int, int]]:
    """Return the distinct (height, width) of the images, in pixels; this reads no image."""
    sizes = column(open_beton(path), IMAGE)
    pairs = np.unique(np.stack([sizes["height"], sizes["width"]], axis=1), axis=0)
    return [(int(height), int(width)) for height, width in pairs]


def beton_pages(path: str | Path) -> npt.NDArray[np.int64]:
    """Return the page of the file that each example is on, int64 (N,), by index; this reads no image.

    A page is the unit in which FFCV reads with `os_cache=False`: 8 MiB in a file that `write_beton` wrote.
    """
    reader = open_beton(path)
    return pages_by_position(reader)[positions(reader)]


def pages_by_position(reader: Reader) -> npt.NDArray[np.int64]:
    """Return the page of each example, int64 (N,), in the order of the file; an example is on one page."""
    pages = np.zeros(int(reader.num_samples), np.int64)
    pages[reader.alloc_table["sample_id"]] = reader.alloc_table["ptr"] // reader.page_size
    return pages


def open_beton(path: str | Path) -> Reader:
    """Return FFCV's reader of a file's metadata, after checking that the file is complete.

    Raises:
        UsageError: the file does not exist, is not a .beton or is truncated.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UsageError(f"beton {str(path)!r} does not exist; write it with: sadp-dist beton SOURCE {path}")
    try:
        reader = Reader(str(path))
    except (AssertionError, IndexError, KeyError, TypeError, UnicodeError, ValueError) as error:
        raise UsageError(f"beton {str(path)!r} is not a .beton file of this version of FFCV") from error
    # FFCV writes the allocation table last, and then the header that points to it.
    allocations, rest = divmod(
        path.stat().st_size - int(reader.header["alloc_table_ptr"]), ALLOC_TABLE_TYPE.itemsize
    )
    stored = sum(isinstance(field, RGBImageField | NDArrayField) for field in reader.handlers.values())
    if int(reader.header["alloc_table_ptr"]) == 0 or rest or allocations < stored * int(reader.num_samples):
        raise UsageError(
            f"beton {str(path)!r} is truncated; write it again with: sadp-dist beton SOURCE {path}"
        )
    return reader


def column(reader: Reader, field: str) -> npt.NDArray[Any]:
    """Return the metadata of a field in the order of the file; for an integer field, its values."""
    if field not in reader.field_names:
        found = ", ".join(reader.field_names)
        raise UsageError(
            f"beton {reader.file_name!r} has no field {field!r}, only {found}; write it with: sadp-dist beton"
        )
    values: npt.NDArray[Any] = reader.metadata[f"f{reader.field_names.index(field)}"]
    return values


def positions(reader: Reader) -> npt.NDArray[np.int64]:
    """Return the position of each example in the file, int64 (N,), from the `index` field."""
    index = column(reader, INDEX)
    order = np.argsort(index, kind="stable")
    if not np.array_equal(index[order], np.arange(len(index))):
        raise UsageError(
            f"beton {reader.file_name!r}: field {INDEX!r} must have each of 0 to {len(index) - 1} once"
        )
    return order


class _Examples:
    """A map-style dataset of (pixels, label, index)."""

    def __init__(self, images: Any) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int, int]:
        image, label = self._images[int(index)]
        pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
            raise UsageError(
                f"source: image {index} is {pixels.dtype} {pixels.shape}; must be PIL or uint8 (H, W, 3)"
            )
        return pixels, int(label), int(index)
