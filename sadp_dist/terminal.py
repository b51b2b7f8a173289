"""What reaches a terminal: names from other people's data with their control characters escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import Any

import rich.markup
from rich.console import Console as RichConsole
from rich.segment import Segment

LONGEST_LINE = 10_000
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


_lines: Callable[[str], None] | None = None
"""Receives what is printed, line by line, instead of the terminal."""


def send_lines_to(receive: Callable[[str], None]) -> None:
    """Give every line that `say` and new consoles print to a function, such as that of a logger."""
    global _lines
    _lines = receive


def say(line: str) -> None:
    """Print a line as `visible` text, at once."""
    if _lines is None:
        print(visible(line), flush=True)
    else:
        _lines(visible(line))


class _Lines(io.TextIOBase):
    """A file that gives each line to a function."""

    def __init__(self, receive: Callable[[str], None]) -> None:
        self._receive, self._begun = receive, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._receive(line.rstrip())
        return len(text)


class Console(RichConsole):
    """A console of rich whose text is `visible`."""

    def __init__(self, **options: Any) -> None:
        if _lines is not None:
            options = {**options, "file": _Lines(_lines), "width": LONGEST_LINE, "force_terminal": False}
        super().__init__(**options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text
            yield segment if segment.control else Segment(visible(text, lines=True), segment.style)
