"""Arrays in a .beton: frames of events or of sound, all of one shape and dtype, with label and index.

They are stored as they are, and read without being looked at: what fits in the dtype of the examples is what
the network gets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.beton import FRAMES, INDEX, LABEL, column, open_beton, positions
from sadp_dist.loading.beton_writer import check_writing, write_examples
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.fields import IntField, NDArrayField
        from ffcv.writer import MIN_PAGE_SIZE
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

DTYPES = ("uint8", "int8", "int16", "int32", "float16", "float32")
PAGE_SIZE = 4 * MIN_PAGE_SIZE
"""Bytes that one array may take: FFCV's page, on which an example lies whole."""


def write_arrays(
    source: Any,
    out: str | Path,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write labelled arrays to a .beton with the fields `frames`, `label` and `index`.

    The file appears under its name when it is complete, not before.

    Args:
        source: a map-style dataset of (array, label); all arrays have the shape and dtype of the first, one
            of `DTYPES`. Sequences have time first: (T, C, H, W) or (T, F).
        out: the file to write; one that exists is replaced.
        workers: processes, as many as there are cores when left out.
        progress: called now and then with the number of arrays written since it was called last.

    Returns:
        The number of arrays written.

    Raises:
        UsageError: an argument out of range, no array in the source, one of another shape or dtype than the
            first, or of more than 8 MiB.
    """
    out = check_writing(out, workers)
    if len(source) == 0:
        raise UsageError("source: holds no array")
    first = np.asarray(source[0][0])
    shape, dtype = first.shape, first.dtype
    if dtype.name not in DTYPES:
        raise UsageError(f"source: array 0 is of {dtype}; must be one of {', '.join(DTYPES)}")
    if first.ndim == 0 or first.size == 0:
        raise UsageError(
            f"source: array 0 has the shape {shape}; must have at least one element along an axis"
        )
    if first.nbytes > PAGE_SIZE:
        raise UsageError(
            f"source: an array of {dtype} {shape} takes {first.nbytes / 2**20:.1f} MiB, more than the "
            f"{PAGE_SIZE >> 20} that fit: give fewer time steps, smaller frames or a smaller dtype"
        )
    fields = {FRAMES: NDArrayField(dtype, shape), LABEL: IntField(), INDEX: IntField()}
    write_examples(_Arrays(source, shape, dtype), fields, out, workers, progress)
    return len(source)


def beton_shape(path: str | Path) -> tuple[int, ...] | None:
    """The shape that the array of every example has; None for a file of images."""
    handlers = open_beton(path).handlers
    if FRAMES not in handlers:
        return None
    return tuple(int(size) for size in handlers[FRAMES].shape)


class BetonArrays:
    """The examples of a .beton of arrays as a map-style dataset of (array, label), read where they lie.

    Args:
        path: a file with the fields `frames`, `label` and `index`.

    Raises:
        UsageError: it is missing, damaged or has not these fields.
    """

    def __init__(self, path: str | Path) -> None:
        reader = open_beton(path)
        places = positions(reader)
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
    """(array, label, index) of every example."""

    def __init__(self, source: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._source, self._shape, self._dtype = source, shape, dtype

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], int, int]:
        values, label = self._source[int(index)]
        values = np.ascontiguousarray(values)
        if values.shape != self._shape or values.dtype != self._dtype:
            raise UsageError(
                f"source: array {index} is {values.dtype} {values.shape}, the first one {self._dtype} "
                f"{self._shape}; all must agree"
            )
        return values, int(label), int(index)
