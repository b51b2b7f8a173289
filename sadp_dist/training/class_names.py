"""The classes of the training and the test data must be the same, or a label would mean two things."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from sadp_dist.data.config import DataConfig
from sadp_dist.errors import UsageError

SHOWN = 5
"""Class names that a message lists."""


def check_class_names(
    config: DataConfig, train: Sequence[str] | None, test: Sequence[str] | None
) -> tuple[str, ...] | None:
    """Return the class names of the data; None if one side has none, and so they cannot be compared.

    Args:
        config: the ``data:`` section.
        train: class names of the training data, by label.
        test: class names of the test data.

    Raises:
        UsageError: the names, or their order, differ.
    """
    if train is None or test is None:
        return None
    ours, theirs = tuple(map(str, train)), tuple(map(str, test))
    if ours == theirs:
        return ours
    missing = [name for name in ours if name not in theirs]
    unknown = [name for name in theirs if name not in ours]
    if unknown:
        advice = f"remove the images of {_listed(unknown)} from the test set, or train on them too"
    elif config.loader == "ffcv":
        command = f"sadp-dist beton SOURCE {config.test} --classes-from {config.train}"
        advice = f"write the test set again with: {command}"
    else:
        advice = (
            "use two splits of one source, or .beton files, the second written with --classes-from the first"
        )
    difference = _difference(ours, theirs, missing, unknown)
    raise UsageError(
        f"data.train and data.test have different classes ({difference}), so a label does not mean the same "
        f"in both; {advice}"
    )


def _difference(
    train: Sequence[str], test: Sequence[str], missing: Sequence[str], unknown: Sequence[str]
) -> str:
    found = []
    if missing:
        found.append(f"only in data.train: {_listed(missing)}")
    if unknown:
        found.append(f"only in data.test: {_listed(unknown)}")
    if not found:
        pairs = enumerate(zip_longest(train, test, fillvalue="nothing"))
        label, (one, other) = next((k, pair) for k, pair in pairs if pair[0] != pair[1])
        found.append(f"in another order: label {label} is {one} in data.train, {other} in data.test")
    return "; ".join(found)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
