"""Write and read arrays in a .beton: event frames or audio features, with label and index.

All arrays of a file have the same shape and dtype. They are stored and read unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.beton import (
    FRAMES,
    INDEX,
    LABEL,
    beton_description,
    column,
    open_beton,
    positions,
)
from sadp_dist.loading.beton_writer import check_writing, write_examples
from sadp_dist.loading.ffcv_import import importing_ffcv
from sadp_dist.loading.file_description import describe

try:
    with importing_ffcv():
        from ffcv.fields import IntField, NDArrayField
        from ffcv.writer import MIN_PAGE_SIZE
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

DTYPES = ("uint8", "int8", "int16", "int32", "float16", "float32")
PAGE_SIZE = 4 * MIN_PAGE_SIZE
"""Largest size of an array in bytes: an example has to fit on one of FFCV's pages."""


def write_arrays(
    source: Any,
    out: str | Path,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    kind: str | None = None,
) -> int:
    """Write labelled arrays to a .beton with the fields `frames`, `label` and `index`.

    The file gets its name when it is complete. It also holds a description, see `beton_description`.

    Args:
        source: a map-style dataset of (array, label). All arrays must have the same shape, and the same dtype
            out of `DTYPES`. Time is the first axis of a sequence: (T, C, H, W) or (T, F).
        out: the file to write; an existing file is replaced.
        workers: the number of processes, by default the number of cores.
        progress: called repeatedly with the number of arrays written since its last call.
        kind: the kind of the source in the description, by default the source's own.

    Returns:
        The number of arrays written.

    Raises:
        UsageError: an argument is out of range, the source has no arrays, an array differs from the first in
            shape or dtype, or an array is larger than 8 MiB.
    """
    out = check_writing(out, workers)
    if len(source) == 0:
        raise UsageError("source: has no arrays")
    first = np.asarray(source[0][0])
    shape, dtype = first.shape, first.dtype
    if dtype.name not in DTYPES:
        raise UsageError(f"source: array 0 has the dtype {dtype}; must be one of {', '.join(DTYPES)}")
    if first.ndim == 0 or first.size == 0:
        raise UsageError(
            f"source: array 0 has the shape {shape}; must have at least one axis and one element"
        )
    if first.nbytes > PAGE_SIZE:
        raise UsageError(
            f"source: an array of {dtype} {shape} takes {first.nbytes / 2**20:.1f} MiB; at most "
            f"{PAGE_SIZE >> 20} MiB are allowed: use fewer time steps, smaller frames or a smaller dtype"
        )
    fields = {FRAMES: NDArrayField(dtype, shape), LABEL: IntField(), INDEX: IntField()}
    description = describe(source, len(source), kind)
    write_examples(_Arrays(source, shape, dtype), fields, out, workers, progress, description)
    return len(source)


def beton_shape(path: str | Path) -> tuple[int, ...] | None:
    """Return the shape of every example's array, or None for a file of images."""
    handlers = open_beton(path).handlers
    if FRAMES not in handlers:
        return None
    return tuple(int(size) for size in handlers[FRAMES].shape)


def beton_holds_planes(path: str | Path) -> bool:
    """Return whether the arrays are images (C, H, W) of 1, 3 or 4 channels: uint8, such as grey images."""
    field = open_beton(path).handlers.get(FRAMES)
    shape = () if field is None else tuple(int(size) for size in field.shape)
    return field is not None and field.dtype == np.uint8 and len(shape) == 3 and shape[0] in (1, 3, 4)


class BetonArrays:
    """The examples of a .beton of arrays as a map-style dataset of (array, label), read one by one.

    Args:
        path: a file with the fields `frames`, `label` and `index`.

    Raises:
        UsageError: the file is missing or damaged, or lacks one of these fields.

    Attributes:
        classes: the class names, by label; None if the file has none.
        labels: int64 (N,).
    """

    def __init__(self, path: str | Path) -> None:
        reader = open_beton(path)
        places = positions(reader)
        description = beton_description(path)
        self.classes = None if description is None else description.classes
        self._starts, self.labels = column(reader, FRAMES)[places], column(reader, LABEL)[places]
        self._path, field = Path(reader.file_name), reader.handlers[FRAMES]
        self._shape, self._dtype = tuple(int(size) for size in field.shape), field.dtype

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], int]:
        start, size = int(self._starts[index]), int(np.prod(self._shape))
        try:
            values = np.fromfile(self._path, self._dtype, size, offset=start)
            return values.reshape(self._shape), int(self.labels[index])
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"beton {str(self._path)!r}: array {index} cannot be read ({reason})") from None


class _Arrays:
    """A map-style dataset of (array, label, index)."""

    def __init__(self, source: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._source, self._shape, self._dtype = source, shape, dtype

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], int, int]:
        values, label = self._source[int(index)]
        values = np.ascontiguousarray(values)
        if values.shape != self._shape or values.dtype != self._dtype:
            raise UsageError(
                f"source: array {index} is {values.dtype} {values.shape}, the first array is {self._dtype} "
                f"{self._shape}; all must have the same dtype and shape"
            )
        return values, int(label), int(index)
