"""FFCV's .beton files: written from labelled images with every example's index, and their metadata read
back."""

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
SMART_THRESHOLD = 1 << 16  # bytes: 147 x 147 pixels


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

    The file appears under its name when it is complete, not before.

    Args:
        source: what `open_images` opens, or a map-style dataset of (PIL image or uint8 array (H, W, 3),
            label).
        out: the file to write; one that exists is replaced.
        split: the sub-folder of the source, such as "train".
        image_format: "raw" pixels (fast to read, for small images), "jpg", or "smart": JPEG where the raw
            pixels would take more than `smart_threshold` bytes.
        max_side: images with a longer side are made smaller, to this many pixels; None keeps every size.
        quality: of JPEG, 1 to 100.
        workers: processes, as many as there are cores when left out.
        progress: called now and then with the number of images written since it was called last.

    Returns:
        The number of images written.

    Raises:
        UsageError: an argument out of range, no image in the source, or one that cannot be read.
    """
    if image_format not in ("raw", "jpg", "smart"):
        raise UsageError(f"image_format={image_format!r}: must be 'raw', 'jpg' or 'smart'")
    if max_side is not None and max_side < 1:
        raise UsageError(f"max_side={max_side}: must be at least 1 pixel, or left out")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality={quality}: must be from 1 to 100")
    out = check_writing(out, workers)
    if split is not None and not isinstance(source, str | Path):
        raise UsageError(f"split={split!r}: only a source that is opened by its path has splits")
    images = open_images(source, split) if isinstance(source, str | Path) else source
    if len(images) == 0:
        raise UsageError("source: holds no image")

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
    """The number of examples."""
    return int(open_beton(path).num_samples)


def beton_fields(path: str | Path) -> dict[str, str]:
    """The fields in their order, each with the name of its FFCV class: `{"image": "RGBImageField", ...}`."""
    return {name: type(field).__name__ for name, field in open_beton(path).handlers.items()}


def beton_labels(path: str | Path) -> npt.NDArray[np.int64]:
    """Every example's label, int64 (N,), by example index; reads no image."""
    reader = open_beton(path)
    return column(reader, LABEL)[positions(reader)]


def beton_image_sizes(path: str | Path) -> list[tuple[int, int]]:
    """The (height, width) in pixels that the file's images have, each once; reads no image."""
    sizes = column(open_beton(path), IMAGE)
    pairs = np.unique(np.stack([sizes["height"], sizes["width"]], axis=1), axis=0)
    return [(int(height), int(width)) for height, width in pairs]


def beton_pages(path: str | Path) -> npt.NDArray[np.int64]:
    """The page of the file that each example lies on, int64 (N,), by example index; reads no image.

    A page is what FFCV's `os_cache=False` reads at a time, 8 MiB in a file that `write_beton` wrote.
    """
    reader = open_beton(path)
    return pages_by_position(reader)[positions(reader)]


def pages_by_position(reader: Reader) -> npt.NDArray[np.int64]:
    """The page of each example, int64 (N,), in the order of the file; no example lies on two."""
    pages = np.zeros(int(reader.num_samples), np.int64)
    pages[reader.alloc_table["sample_id"]] = reader.alloc_table["ptr"] // reader.page_size
    return pages


def open_beton(path: str | Path) -> Reader:
    """FFCV's reader of a file's metadata, after a look at whether the file is whole.

    Raises:
        UsageError: no such file, not a .beton, or one cut short.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UsageError(f"beton {str(path)!r} does not exist; write it with: sadp-dist beton SOURCE {path}")
    try:
        reader = Reader(str(path))
    except (AssertionError, IndexError, KeyError, TypeError, UnicodeError, ValueError) as error:
        raise UsageError(f"beton {str(path)!r} is not a .beton file of this version of FFCV") from error
    # The table of allocations is written last, the header that points to it after that.
    allocations, rest = divmod(
        path.stat().st_size - int(reader.header["alloc_table_ptr"]), ALLOC_TABLE_TYPE.itemsize
    )
    stored = sum(isinstance(field, RGBImageField | NDArrayField) for field in reader.handlers.values())
    if int(reader.header["alloc_table_ptr"]) == 0 or rest or allocations < stored * int(reader.num_samples):
        raise UsageError(
            f"beton {str(path)!r} is cut short; write it again with: sadp-dist beton SOURCE {path}"
        )
    return reader


def column(reader: Reader, field: str) -> npt.NDArray[Any]:
    """A field's metadata in the order of the file; of an integer field, the values themselves."""
    if field not in reader.field_names:
        found = ", ".join(reader.field_names)
        raise UsageError(
            f"beton {reader.file_name!r} has no field {field!r}, only {found}; write it with: sadp-dist beton"
        )
    values: npt.NDArray[Any] = reader.metadata[f"f{reader.field_names.index(field)}"]
    return values


def positions(reader: Reader) -> npt.NDArray[np.int64]:
    """Where in the file each example is, int64 (N,), from the `index` field."""
    index = column(reader, INDEX)
    order = np.argsort(index, kind="stable")
    if not np.array_equal(index[order], np.arange(len(index))):
        raise UsageError(
            f"beton {reader.file_name!r}: field {INDEX!r} must hold every number below {len(index)} once"
        )
    return order


class _Examples:
    """(pixels, label, index) of every example."""

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
