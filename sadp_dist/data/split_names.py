"""Names of splits."""

from __future__ import annotations

import re

from sadp_dist.errors import UsageError

SPLIT = re.compile(
    r"(train|training|val|valid|validation|dev|test|testing|eval|evaluation)"
    r"([-_ ]?(set|data|images|imgs|\d+))?",
    re.IGNORECASE,
)


class UnknownSplit(UsageError):
    """The source has no split of this name. The message names those it has."""


def is_split(name: str) -> bool:
    """Whether a folder, or the first word of a parquet file's name, is that of a split, as "test_set"."""
    return SPLIT.fullmatch(name) is not None
