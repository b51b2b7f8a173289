"""Read labelled images from parquet: a column of labels, and one of images.

An image is the bytes of an image file, Hugging Face's struct of bytes and path, or nested lists of pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sadp_dist.data.class_folders import listed
from sadp_dist.data.image_source import ImageSource, LeftOut
from sadp_dist.data.parquet_files import split_files
from sadp_dist.data.parquet_labels import class_names, features, number_labels
from sadp_dist.errors import MissingExtra, UsageError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
START = 4096
"""Bytes of an image column that are in the fingerprint, of each row group."""


class ParquetImages(ImageSource):
    """The rows of a .parquet file, or of a split's files in order. Row groups are read when needed.

    Args:
        path: a .parquet file, or a folder.
        files: the .parquet files of the folder, relative to it.
        split: the split, or None if the source has only one.
        image_column, label_column: the names of the columns, or None for the usual ones.
        left_out: other files of the folder.
    """

    kind = "parquet"

    def __init__(
        self,
        path: Path,
        files: Sequence[str],
        split: str | None,
        image_column: str | None = None,
        label_column: str | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        chosen, others = split_files(path, files, split)
        shards = [_open(file) for file in chosen]
        schema = shards[0].schema_arrow
        self._image = _column(schema, chosen[0], "image", image_column, IMAGE_COLUMNS, "Image")
        label = _column(schema, chosen[0], "label", label_column, LABEL_COLUMNS, "ClassLabel")
        _check_image_type(schema.field(self._image).type, chosen[0], self._image)
        for file, shard in zip(chosen, shards, strict=True):
            _refuse_another_schema(file, shard.schema_arrow, chosen[0], schema, (self._image, label))
        self._groups = [
            (file, group)
            for file, shard in zip(chosen, shards, strict=True)
            for group in range(shard.metadata.num_row_groups)
        ]
        sizes = [
            shard.metadata.row_group(group).num_rows
            for shard in shards
            for group in range(shard.metadata.num_row_groups)
        ]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._rows = np.arange(self._starts[-1])
        self._cached: tuple[int, Any] | None = None
        if len(self._rows) == 0:
            raise UsageError(f"source {str(path)!r} has no images: its parquet files have no rows")
        column = _labels(chosen, label)
        elsewhere = [_labels([file], label) for file in others if label in _open(file).schema_arrow.names]
        where = f"{path}: label column {label!r}"
        classes, labels = number_labels(column, elsewhere, class_names(schema, label), where)
        inside = [file.name if path.is_file() else file.relative_to(path).as_posix() for file in chosen]
        paths = [
            f"{name}, row {row}"
            for name, shard in zip(inside, shards, strict=True)
            for row in range(shard.metadata.num_rows)
        ]
        super().__init__(str(path), classes, labels, paths, left_out)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file as stored; pixels in lists as a .png."""
        row = int(self._rows[index])
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        value = self._images(group)[row - int(self._starts[group])]
        if hasattr(value, "keys") and value.is_valid:  # a struct
            value = value["bytes"]
        if not value.is_valid:
            raise self._damaged(index, "the row has no bytes of an image, but null")
        data = value.as_py() if not _is_list(value.type) else None
        if isinstance(data, bytes):
            return data
        try:
            return _file_of(_pixels(value))
        except (TypeError, ValueError) as error:
            raise self._damaged(index, " ".join(str(error).split())) from error

    def _keep(self, indices: np.ndarray) -> None:
        super()._keep(indices)
        self._rows = self._rows[indices]

    def _marks(self) -> Iterator[bytes]:
        yield self._rows.astype("<i8").tobytes()
        for file in dict.fromkeys(file for file, _ in self._groups):
            metadata = _open(file).metadata
            with file.open("rb") as content:
                for group in range(metadata.num_row_groups):
                    for k in range(metadata.num_columns):
                        column = metadata.row_group(group).column(k)
                        if f"{column.path_in_schema}.".startswith(f"{self._image}."):
                            yield f"{column.num_values} {column.total_compressed_size}\n".encode()
                            content.seek(column.dictionary_page_offset or column.data_page_offset)
                            yield content.read(min(column.total_compressed_size, START))

    def _images(self, group: int) -> Any:
        if self._cached is None or self._cached[0] != group:
            file, number = self._groups[group]
            # Threads of a pool do not survive a fork.
            table = _open(file).read_row_group(number, [self._image], use_threads=False)
            self._cached = (group, table.column(0))
        return self._cached[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cached": None}


def _open(file: Path) -> Any:
    """Return pyarrow's reader of a file.

    Raises:
        UsageError: it is not a readable .parquet.
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    try:
        return pq.ParquetFile(file)
    except (OSError, ValueError) as error:
        with file.open("rb") as content:
            if content.read(32).startswith(b"version https://git-lfs"):
                raise UsageError(f"{file}: a Git LFS pointer, not the file; run: git lfs pull") from error
        raise UsageError(f"{file}: not a readable .parquet ({_first_line(error)})") from error


def _column(
    schema: Any, file: Path, what: str, chosen: str | None, usual: tuple[str, ...], feature: str
) -> str:
    """Return the name of the image or label column."""
    if chosen is not None and chosen not in schema.names:
        raise UsageError(f"{file}: no column {chosen!r}; it has: {listed(schema.names)}")
    found = [name for name in usual if name in schema.names]
    if not found:
        found = [name for name, of in features(schema).items() if name in schema.names and _is(of, feature)]
    if chosen is None and len(found) > 1:
        raise UsageError(f"{file}: has the columns {', '.join(found)}; choose one with {what}_column=")
    if chosen is None and not found:
        names = " or ".join(map(repr, usual))
        raise UsageError(
            f"{file}: no column {names}; it has: {listed(schema.names)}; choose one with {what}_column="
        )
    return chosen or found[0]


def _is(of: Any, feature: str) -> bool:
    return isinstance(of, dict) and of.get("_type") == feature


def _check_image_type(kind: Any, file: Path, column: str) -> None:
    import pyarrow as pa

    inner = kind
    if isinstance(inner, pa.BaseExtensionType):
        inner = inner.storage_type
    if pa.types.is_struct(inner) and "bytes" in inner.names:
        inner = inner.field("bytes").type
    while _is_list(inner):
        inner = inner.value_type
    is_bytes = inner == kind or pa.types.is_struct(kind)
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if not (any(test(inner) for test in binary) if is_bytes else pa.types.is_integer(inner)):
        raise UsageError(
            f"{file}: image column {column!r} has the type {kind}; must be bytes of image files, a struct "
            "with 'bytes', or lists of pixels from 0 to 255; choose another with image_column="
        )


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _refuse_another_schema(
    file: Path, schema: Any, first: Path, expected: Any, columns: tuple[str, str]
) -> None:
    for name in columns:
        wanted = expected.field(name).type
        found = schema.field(name).type if name in schema.names else "missing"
        if found != wanted:
            raise UsageError(
                f"{file}: column {name!r} is {found}, but {wanted} in {first.name}; the files of a split "
                "must have the same columns"
            )
    names, others = class_names(expected, columns[1]), class_names(schema, columns[1])
    if names != others:
        raise UsageError(
            f"{file}: the class names of {columns[1]!r} differ from those in {first.name}; the files of a "
            "split must have the same"
        )


def _labels(files: Sequence[Path], column: str) -> Any:
    import pyarrow as pa

    chunks: list[Any] = []
    for file in files:
        try:
            chunks += _open(file).read([column]).column(0).chunks
        except (OSError, ValueError) as error:
            raise UsageError(f"{file}: not a readable .parquet ({_first_line(error)})") from error
    return pa.chunked_array(chunks, None if chunks else pa.int64())


def _pixels(value: Any) -> np.ndarray:
    """Return the array in a value of nested lists.

    Raises:
        ValueError: the lists have different lengths.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(value.type, pa.BaseExtensionType):
        if hasattr(value, "to_numpy"):  # Arrow's tensors
            return np.asarray(value.to_numpy())
        value = value.value
    values, shape = value.values, [len(value.values)]
    while _is_list(values.type):
        if len(values) == 0:
            raise ValueError("it has no pixels")
        lengths = pc.list_value_length(values).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise ValueError("its lists have different lengths")
        values = values.flatten()
        shape.append(lengths[0])
    if values.null_count:
        raise ValueError(f"{values.null_count} of its pixels are null")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)


def _file_of(pixels: np.ndarray) -> bytes:
    """Return pixels of (H, W), (H, W, C) or (C, H, W) as a .png; one dimension is the bytes of a file.

    Raises:
        ValueError: the shape or the values are not those of 8-bit pixels.
    """
    from PIL import Image

    if pixels.size == 0:
        raise ValueError("it has no pixels")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"pixels must be from 0 to 255; it has {pixels.min()} to {pixels.max()}")
    pixels = pixels.astype(np.uint8)
    if pixels.ndim == 1:
        return pixels.tobytes()
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"pixels of the shape {pixels.shape}; must be (H, W) or (H, W, C) with C = 1, 3 or 4"
        )
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
