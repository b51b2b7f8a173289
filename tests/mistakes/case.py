"""A mistake that somebody makes, and what comes of it, as docs/troubleshooting.md has them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sadp_dist.errors import UsageError

Make = Callable[[Path], str | None]
"""Makes a mistake in an empty folder; returns what a command printed, if the row is about that."""


@dataclass(frozen=True)
class Mistake:
    """A row of a table.

    Attributes:
        what: the mistake in words, as Markdown.
        why: the reason to say something.
        make: makes it.
    """

    what: str
    why: str
    make: Make

    def __str__(self) -> str:
        return self.what


class Table(list[Mistake]):
    """The mistakes of one kind, in the order of the page."""

    def row(self, what: str, why: str) -> Callable[[Make], Make]:
        """Return a decorator that adds the mistake which a function makes."""

        def add(make: Make) -> Make:
            self.append(Mistake(what, why, make))
            return make

        return add


def outcome(mistake: Mistake, folder: Path) -> str:
    """Make a mistake, and return what is said of it.

    Raises:
        AssertionError: nothing is said, or more than one thing.
    """
    said: str | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            said = mistake.make(folder)
        except UsageError as error:
            return f"refused: {_shown(str(error), folder)}"
    ours = [str(warning.message) for warning in caught if warning.category is UserWarning]
    if said is not None:
        return f"printed: {_shown(said, folder)}"
    assert len(ours) == 1, f"{mistake.what}: {len(ours)} warnings: {ours}"
    return f"warning: {_shown(ours[0], folder)}"


def _shown(message: str, folder: Path) -> str:
    """Return a message as a cell of a table, with DATA for the folder of the test."""
    assert "\n" not in message, message
    line = re.sub(r"\s+", " ", message.replace(f"{folder}/", "").replace(str(folder), "DATA"))
    return f"`` {line.replace('|', chr(92) + '|')} ``"
