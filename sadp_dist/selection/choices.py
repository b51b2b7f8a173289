"""Refusing a name that is not one of a few."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from sadp_dist.errors import UsageError


def check_choice(name: str, value: object, allowed: Collection[str]) -> None:
    """Refuse a value that is not one of `allowed`, naming the nearest one.

    Raises:
        UsageError: `value` is not in `allowed`.
    """
    if value in allowed:
        return
    nearest = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.4)
    hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
    choices = ", ".join(f'"{choice}"' for choice in allowed)
    raise UsageError(f"{name}={value!r} is not known; use one of {choices}{hint}")
