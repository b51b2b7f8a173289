"""Read labelled images from parquet: a column of labels, and one of image bytes.

The image column may also be Hugging Face's struct of bytes and path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sadp_dist.data.image_source import SPLITS, ImageSource
from sadp_dist.errors import MissingExtra, UsageError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


class ParquetImages(ImageSource):
    """The rows of a .parquet file, or of the files of a folder in order. Row groups are read when needed."""

    def __init__(self, path: Path, split: str | None) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtra("pyarrow", "parquet") from error
        files = _files(path, split)
        self._groups: list[tuple[Path, int]] = []
        self._cached: tuple[int, Any] | None = None
        sizes: list[int] = []
        columns: list[Any] = []
        elsewhere: list[Any] = []  # labels of the other splits: classes are numbered over all splits
        paths: list[str] = []
        for file in _files(path, ""):
            try:
                parquet = pq.ParquetFile(file)
                if file not in files:
                    elsewhere += _labels_if_any(parquet)
                    continue
                metadata = parquet.metadata
                self._image = _column(parquet, file, IMAGE_COLUMNS)
                label = _column(parquet, file, LABEL_COLUMNS)
                columns.append(parquet.read([label]).column(0).to_numpy(zero_copy_only=False))
            except (OSError, ValueError) as error:
                if isinstance(error, UsageError):
                    raise
                raise UsageError(f"{file}: not a readable .parquet ({_first_line(error)})") from error
            self._groups += [(file, group) for group in range(metadata.num_row_groups)]
            sizes += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            paths += [f"{file.name}, row {row}" for row in range(metadata.num_rows)]
            classes = _class_names(parquet.schema_arrow, label)
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        values = np.concatenate(columns)
        if len(values) == 0:
            raise UsageError(f"source {str(path)!r} has no images")
        super().__init__(str(path), *_as_labels(values, elsewhere, classes, path), paths)

    def encoded(self, index: int) -> bytes:
        index = range(len(self))[index]
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        value = self._images(group)[index - int(self._starts[group])].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise self._damaged(index, TypeError("the image column has no bytes"))
        return data

    def _images(self, group: int) -> Any:
        if self._cached is None or self._cached[0] != group:
            import pyarrow.parquet as pq

            file, number = self._groups[group]
            # Threads of a pool do not survive a fork.
            table = pq.ParquetFile(file).read_row_group(number, [self._image], use_threads=False)
            self._cached = (group, table.column(0))
        return self._cached[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cached": None}


def _files(path: Path, split: str | None) -> list[Path]:
    """Return the files of a split in order, such as "train-00000-of-00001.parquet"; all files for ""."""
    if path.is_file():
        return [path]
    names = sorted(file.name for file in path.glob("*.parquet"))
    splits = sorted({name.split("-")[0].removesuffix(".parquet") for name in names} & set(SPLITS))
    if split is None and len(splits) > 1:
        raise UsageError(f"source {str(path)!r} has the splits {', '.join(splits)}; choose one with split=")
    chosen = [path / name for name in names if name.startswith(split or "")]
    if not chosen:
        raise UsageError(f"split {split!r} is not in {str(path)!r}; it has: {', '.join(names)}")
    return chosen


def _column(parquet: Any, file: Path, names: tuple[str, ...]) -> str:
    for name in names:
        if name in parquet.schema_arrow.names:
            return name
    found = ", ".join(parquet.schema_arrow.names)
    raise UsageError(f"{file}: no column {' or '.join(map(repr, names))}; it has: {found}")


def _class_names(schema: Any, label: str) -> list[str] | None:
    """Return the class names that Hugging Face's datasets writes into the schema."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return list(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return None


def _labels_if_any(parquet: Any) -> list[Any]:
    """Return the label column without nulls, or nothing if there is none, as in some test sets."""
    names = [name for name in LABEL_COLUMNS if name in parquet.schema_arrow.names]
    return [parquet.read([name]).column(0).drop_null().to_numpy(zero_copy_only=False) for name in names[:1]]


def _as_labels(
    values: np.ndarray, elsewhere: list[np.ndarray], names: list[str] | None, path: Path
) -> tuple[list[str], np.ndarray]:
    """Return class names, of this split and those with the same kind of labels, and the labels."""
    kinds = "OU" if values.dtype.kind in "OU" else "iu"
    alike = [values, *(labels for labels in elsewhere if len(labels) and labels.dtype.kind in kinds)]
    if kinds == "OU":
        unique = np.unique(np.concatenate([labels.astype(str) for labels in alike]))
        return [str(name) for name in unique], np.searchsorted(unique, values.astype(str)).astype(np.int64)
    if values.dtype.kind not in kinds or values.min() < 0:
        raise UsageError(f"{path}: labels must be integers of at least 0, or names; got {values.dtype}")
    highest = max(int(labels.max()) for labels in alike)
    classes = names if names and len(names) > highest else [str(k) for k in range(highest + 1)]
    return classes, values.astype(np.int64)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
