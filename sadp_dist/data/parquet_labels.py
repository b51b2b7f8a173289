"""Number the labels of parquet columns: whole numbers, booleans or names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sadp_dist.data.image_source import Labels
from sadp_dist.errors import UsageError


def number_labels(
    column: Any, elsewhere: Sequence[Any], names: list[str] | None, where: str
) -> tuple[list[str], Labels]:
    """Return the class names, and the labels, int64 (N,).

    Labels count the distinct values of all splits, in ascending order; the values are the class names. If
    Hugging Face's class names are known and fit, the values are the labels.

    Args:
        column: pyarrow's ChunkedArray of a split.
        elsewhere: those of the other splits; of another type they are ignored.
        names: the class names that the files store, or None.
        where: the source and the column, for messages.

    Raises:
        UsageError: labels are missing, or of a type that is none of these.
    """
    if column.null_count:
        nulls = f"{column.null_count:,} null{'s' if column.null_count > 1 else ''}"
        raise UsageError(
            f"{where} has {nulls} in {len(column):,} rows; remove these rows, or choose "
            "another column with label_column="
        )
    values = _values(column)
    if values is None:
        raise UsageError(
            f"{where} has {_kind(column.type)}; must be one integer, boolean or name for an image; choose "
            "another column with label_column="
        )
    if values.dtype == np.bool_:
        return ["False", "True"], values.astype(np.int64)
    if values.dtype == np.int64:
        without = int((values < 0).sum()) if names else int((values == -1).sum())
        if without and (names or without == len(values)):
            found = f"{without:,} label{'s' if without > 1 else ''}"
            raise UsageError(
                f"{where} has {found} below 0 in {len(values):,} rows, which mark images without "
                "a label; remove these rows, or choose another split with split="
            )
        if names and values.max() < len(names):
            return names, values
    others = [
        other
        for other in map(_values, elsewhere)
        if other is not None and other.dtype.kind == values.dtype.kind
    ]
    if values.dtype == np.int64:
        others = [other for other in others if not (other == -1).all()]  # a split without labels
    unique = np.unique(np.concatenate([values, *others]))
    return [str(name) for name in unique], np.searchsorted(unique, values).astype(np.int64)


def class_names(schema: Any, label: str) -> list[str] | None:
    """Return the class names that Hugging Face's datasets writes into the schema."""
    try:
        return [str(name) for name in features(schema)[label]["names"]]
    except (KeyError, TypeError):
        return None


def features(schema: Any) -> dict[str, Any]:
    """Return what Hugging Face's datasets writes into the schema about each column."""
    try:
        found = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _values(column: Any) -> Any:
    """Return the values without nulls as int64, bool or str, or None for other types."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.cast(kind.value_type))
    column = column.drop_null()
    if pa.types.is_boolean(kind):
        return column.to_numpy()
    try:
        if pa.types.is_integer(kind):
            return column.cast(pa.int64()).to_numpy()
        if _is_text(kind):
            return column.cast(pa.string()).to_numpy().astype(str)
    except pa.ArrowInvalid:  # above 2**63, or bytes that are no text
        return None
    return None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _kind(kind: Any) -> str:
    import pyarrow as pa

    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return f"lists ({kind}), several labels for an image" if nested else f"values of the type {kind}"
