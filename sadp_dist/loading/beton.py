"""Read the metadata of FFCV's .beton files: labels, sizes, pages and the description."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sadp_dist.data.fingerprints import DIGEST, labels_fingerprint
from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.ffcv_import import importing_ffcv
from sadp_dist.loading.file_description import BetonDescription, read_description

try:
    with importing_ffcv():
        from ffcv.fields import NDArrayField, RGBImageField
        from ffcv.reader import Reader
        from ffcv.types import ALLOC_TABLE_TYPE, CURRENT_VERSION, HeaderType
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

JPEG = 0
"""Mode of an image that FFCV stored as JPEG (`ffcv.fields.rgb_image.IMAGE_MODES`)."""
IMAGE, FRAMES, LABEL, INDEX = "image", "frames", "label", "index"


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


def beton_description(path: str | Path) -> BetonDescription | None:
    """Return what a file says of itself: classes, source, files left out, and a fingerprint of its content.

    None for a file of another writer, or of sadp_dist before 0.3.
    """
    reader = open_beton(path)
    start = HeaderType.itemsize + reader.field_descriptors.nbytes + reader.metadata.nbytes
    end = int(reader.alloc_table["ptr"].min(initial=reader.header["alloc_table_ptr"]))
    return read_description(Path(reader.file_name), start, end)


def beton_classes(path: str | Path) -> tuple[str, ...] | None:
    """Return the class names of a file, by label; None if it has none."""
    description = beton_description(path)
    return None if description is None else description.classes


def beton_fingerprints(path: str | Path) -> dict[str, str]:
    """Return fingerprints of a file's examples, in hexadecimal digits; this reads no image.

    Returns:
        "content", of images or arrays and labels; that of the source under its kind, such as "zip"; and
        "labels", of the labels in order. A file without a description has "sizes" instead of the first two,
        of the labels and the stored sizes of the examples.
    """
    description, labels = beton_description(path), labels_fingerprint(beton_labels(path))
    if description is None:
        return {"sizes": _sizes_fingerprint(open_beton(path)), "labels": labels}
    source = description.source_fingerprint
    return {
        "content": description.fingerprint,
        **({} if source is None else {description.source_kind: source}),
        "labels": labels,
    }


def _sizes_fingerprint(reader: Reader) -> str:
    """Return a fingerprint of each example's metadata and number of bytes, by index, without addresses."""
    order = positions(reader)
    stored = np.zeros(len(order), np.int64)
    np.add.at(stored, reader.alloc_table["sample_id"].astype(np.int64), reader.alloc_table["size"])
    columns = [stored[order], column(reader, LABEL)[order]]
    if IMAGE in reader.field_names and (names := column(reader, IMAGE).dtype.names):
        columns += [column(reader, IMAGE)[name][order] for name in names if name != "data_ptr"]
    digest = hashlib.blake2b(digest_size=DIGEST)
    for values in columns:
        digest.update(np.ascontiguousarray(values, "<i8").data)
    return digest.hexdigest()


def pages_by_position(reader: Reader) -> npt.NDArray[np.int64]:
    """Return the page of each example, int64 (N,), in the order of the file; an example is on one page."""
    pages = np.zeros(int(reader.num_samples), np.int64)
    pages[reader.alloc_table["sample_id"]] = reader.alloc_table["ptr"] // reader.page_size
    return pages


def open_beton(path: str | Path) -> Reader:
    """Return FFCV's reader of a file's metadata, after checking that the file is complete.

    Raises:
        UsageError: the file does not exist, is not a .beton, is truncated or points outside of itself.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UsageError(f"beton {str(path)!r} does not exist; write it with: sadp-dist beton SOURCE {path}")
    again = f"write it again with: sadp-dist beton SOURCE {path}"
    file = path.stat()
    try:
        header = np.fromfile(path, HeaderType, 1)
    except OSError as error:
        raise UsageError(f"beton {str(path)!r} cannot be read ({error.strerror})") from None
    if len(header) and header["version"][0] == CURRENT_VERSION and header["num_samples"][0] > file.st_size:
        said = f"it says that it has {header['num_samples'][0]:,} examples, more than it has bytes"
        raise UsageError(f"beton {str(path)!r} is damaged: {said}; {again}")
    try:
        reader = Reader(str(path))
    except (
        AssertionError,
        IndexError,
        KeyError,
        TypeError,
        UnicodeError,
        ValueError,
        MemoryError,
        OSError,
    ) as error:
        raise UsageError(f"beton {str(path)!r} is not a .beton file of this version of FFCV") from error
    # FFCV writes the allocation table last, and then the header that points to it.
    allocations, rest = divmod(
        file.st_size - int(reader.header["alloc_table_ptr"]), ALLOC_TABLE_TYPE.itemsize
    )
    stored = sum(isinstance(field, RGBImageField | NDArrayField) for field in reader.handlers.values())
    if int(reader.header["alloc_table_ptr"]) == 0 or rest or allocations < stored * int(reader.num_samples):
        raise UsageError(f"beton {str(path)!r} is truncated; {again}")
    seen = (str(path.resolve()), file.st_mtime_ns, file.st_size)
    if seen not in _whole:
        if damage := _damage(reader):
            raise UsageError(f"beton {str(path)!r} is damaged: {damage}; {again}")
        _whole.add(seen)
    return reader


_whole: set[tuple[str, int, int]] = set()
"""Path, time and size of the files whose pointers have been checked: that need not be done for each use."""


def _damage(reader: Reader) -> str | None:
    """Return what a file points to outside of itself; None if it is whole."""
    N = int(reader.num_samples)
    if len(reader.metadata) != N:
        return f"it has the metadata of {len(reader.metadata):,} of {N:,} examples"
    start = HeaderType.itemsize + reader.field_descriptors.nbytes + reader.metadata.nbytes
    end, table = int(reader.header["alloc_table_ptr"]), reader.alloc_table
    if int(reader.page_size) < 1:
        return "its pages have no bytes"
    if (table["sample_id"] >= N).any():
        return f"its table names an example beyond the {N:,}"
    outside = (table["ptr"] < start) | (table["ptr"] > end) | (table["size"] > end)
    if (outside | (table["ptr"] + table["size"] > end)).any():
        return "its table points outside of the file"
    order = np.argsort(table["ptr"], kind="stable")
    starts, sizes = table["ptr"][order], table["size"][order]
    for number, (name, field) in enumerate(reader.handlers.items()):
        if not isinstance(field, RGBImageField | NDArrayField):
            continue
        stored = reader.metadata[f"f{number}"]
        image = isinstance(field, RGBImageField)
        pointers = stored["data_ptr"] if image else stored
        found = np.minimum(np.searchsorted(starts, pointers), max(len(starts) - 1, 0))
        wrong = starts[found] != pointers
        if image:
            pixels = 3 * stored["width"].astype(np.uint64) * stored["height"]
            wrong |= (pixels == 0) | ((stored["mode"] != JPEG) & (sizes[found] != pixels))
        else:
            wrong |= sizes[found] != field.element_size
        if wrong.any():
            place = int(np.argmax(wrong))
            return f"field {name!r} of example {place} of {N:,} is not where it says, or of another size"
    return None


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
