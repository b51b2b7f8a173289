"""The runs of a place, kept open as long as they are looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sadp_dist.dashboard.query_cache import QueryCache
from sadp_dist.dashboard.sources import OpenRun, Source
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store import RunView

UNUSED_FOR = 600.0
"""Seconds after which a run that nobody has looked at is let go of."""

T = TypeVar("T")


class NoSuchRun(LookupError):
    """There is no run of this name, now."""


class Runs:
    """What the dashboard asks of a place and of its runs, each in a thread of its own.

    A run that hangs holds up nobody but those who ask about it, and they wait a few seconds at most. It
    belongs to one event loop.

    Args:
        source: the place.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source
        self._directory = QueryCache(source.name)
        self._watched: dict[str, _Watched] = {}

    async def list(self) -> list[dict[str, Any]]:
        """What runs there are, by name; those gone, and those that nobody looks at, are let go of.

        Raises:
            StoreUnavailable: the place cannot be reached.
            UsageError: it does not let one in.
        """
        runs = sorted(await self._directory.ask("runs", self._source.runs), key=lambda run: str(run["run"]))
        names = {run["run"] for run in runs}
        long_ago = time.monotonic() - UNUSED_FOR
        for name, watched in list(self._watched.items()):
            if name not in names or watched.asked < long_ago:
                self._let_go(name, watched)
        return runs

    async def ask(self, run: str, key: Hashable, question: Callable[[RunView], T]) -> T:
        """The answer to a question about a run, now or a moment ago.

        Args:
            run: its name.
            key: what is asked; two questions of the same key are the same.
            question: gets the run's store.

        Raises:
            NoSuchRun: there is none.
            StoreUnavailable: the place, or this run there, cannot be reached.
            UsageError: it does not let one in, or its checkpoint cannot be read.
        """
        if run not in self._watched:
            if all(found["run"] != run for found in await self.list()):
                raise NoSuchRun(f"there is no run {run!r} at {self.name}")
            if run not in self._watched:  # another one may have come to this line meanwhile
                self._watched[run] = _Watched(f"run {run!r} at {self.name}", self._source.open(run))
        watched = self._watched[run]
        try:
            return await watched.ask(key, question)
        except (StoreUnavailable, UsageError):
            if watched.failed and self._watched.get(run) is watched:
                self._let_go(run, watched)  # it may be gone, or come back as another
            raise

    def _let_go(self, run: str, watched: _Watched) -> None:
        del self._watched[run]
        watched.close()


class _Watched:
    """A run that is looked at.

    Attributes:
        asked: when somebody looked last, in seconds of the monotonic clock.
        failed: whether it could not be reached, or was not there, the last time; to take long is no failure.
    """

    def __init__(self, name: str, run: OpenRun) -> None:
        self._run = run
        self._asker = QueryCache(name)
        self.asked = time.monotonic()
        self.failed = False

    async def ask(self, key: Hashable, question: Callable[[RunView], T]) -> T:
        self.asked = time.monotonic()
        return await self._asker.ask(key, lambda: self._answer(question))

    def close(self) -> None:
        self._asker.close(last=self._run.close)

    def _answer(self, question: Callable[[RunView], T]) -> T:
        self.failed = False
        try:
            return question(self._run.store())
        except (StoreUnavailable, UsageError):
            self.failed = True
            raise
