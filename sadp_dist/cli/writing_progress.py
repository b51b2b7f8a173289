"""The progress of writing a file: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sadp_dist.terminal import Console

EVERY = 10.0
"""Seconds between two lines, where there is no terminal."""


@contextmanager
def writing_progress(console: Console, doing: str, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is called with the number of examples done since its last call.

    Args:
        console: where to print.
        doing: such as "writing train.beton".
        total: number of examples.
        what: "images" or "examples".
    """
    if not console.is_terminal:
        lines = _Lines(console, doing, total, what)
        yield lines.advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(what),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(doing, total=total)
        yield lambda done: bars.advance(bar, done)


class _Speed(ProgressColumn):
    """Examples per second."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self._what}/s")


class _Lines:
    """Prints a line every few seconds, for logs."""

    def __init__(self, console: Console, doing: str, total: int, what: str) -> None:
        self._console, self._doing, self._total, self._what = console, doing, total, what
        self._done = 0
        self._began = self._said = time.monotonic()

    def advance(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if now - self._said < EVERY or self._done == 0:
            return
        self._said = now
        speed = self._done / (now - self._began)
        left = (self._total - self._done) / speed
        self._console.print(
            f"{self._doing}: {self._done:,} of {self._total:,} {self._what}, {speed:,.0f} {self._what}/s, "
            f"{duration(left)} left",
            markup=False,
            soft_wrap=True,
        )


def duration(seconds: float) -> str:
    """Return a time in words, such as "40 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
