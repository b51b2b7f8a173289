"""What reaches a terminal: names from other people's data with their control characters escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import rich.markup
from rich.console import Console as RichConsole
from rich.segment import Segment

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, ESC and BEL among them; newlines see below
    "\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # line separators, and changes of direction
    "\ud800-\udfff]"  # bytes of file names that are not UTF-8
)


def visible(text: str, lines: bool = False) -> str:
    r"""Return text with control characters as \uXXXX, so that a terminal shows them and does nothing else.

    Args:
        text: such as the name of a run or a class.
        lines: leave newlines as they are.
    """
    shown = _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return shown if lines else shown.replace("\n", "\\u000a")


def escape(text: str) -> str:
    """Return `visible` text for rich, without markup."""
    return rich.markup.escape(visible(text))


class Console(RichConsole):
    """A console of rich whose text is `visible`."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text
            yield segment if segment.control else Segment(visible(text, lines=True), segment.style)
