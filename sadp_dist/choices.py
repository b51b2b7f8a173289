"""Refuses a name that is not one of the allowed names, and suggests one only if it is close."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from sadp_dist.errors import UsageError
from sadp_dist.passwords import without_password


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Refuse a value that is not one of `allowed`.

    Args:
        name: what the value is for, as the user typed it.
        value: what was given.
        allowed: what may be given.

    Raises:
        UsageError: `value` is not in `allowed`; the message lists these, and suggests one that is close.
    """
    choices = list(allowed)
    if value in choices:
        return
    shown = ", ".join(f'"{choice}"' for choice in choices)
    raise UsageError(
        f"{name}={without_password(repr(value))} is not known; use one of {shown}"
        f"{did_you_mean(value, choices)}"
    )


def did_you_mean(value: object, known: Iterable[object]) -> str:
    """Return '; did you mean "NAME"?' for the name closest to `value`, or "" if none is close."""
    names = {_plain(name): name for name in map(str, known)}
    nearest = difflib.get_close_matches(_plain(str(value)), names, n=1, cutoff=0.7)
    return f'; did you mean "{names[nearest[0]]}"?' if nearest else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
