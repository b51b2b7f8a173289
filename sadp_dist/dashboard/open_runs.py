"""The runs of a source, which stay open while they are queried."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sadp_dist.dashboard.query_cache import QueryCache
from sadp_dist.dashboard.sources import OpenRun, Source
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store import RunView

UNUSED_FOR = 600.0
"""Seconds without a query after which a run is closed."""

T = TypeVar("T")


class NoSuchRun(LookupError):
    """There is no run with this name."""


class Runs:
    """Runs queries on a source and its runs, each run in its own thread.

    A run that hangs delays only its own queries, by a few seconds at most. An instance belongs to one event
    loop.

    Args:
        source: of the runs.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source
        self._directory = QueryCache(source.name)
        self._open: dict[str, _QueriedRun] = {}

    async def list(self) -> list[dict[str, Any]]:
        """Return the runs, sorted by name, and close the runs that are gone or unused.

        Raises:
            StoreUnavailable: the source cannot be reached.
            UsageError: the source refuses the user.
        """
        runs = sorted(await self._directory.ask("runs", self._source.runs), key=lambda run: str(run["run"]))
        names = {run["run"] for run in runs}
        long_ago = time.monotonic() - UNUSED_FOR
        for name, opened in list(self._open.items()):
            if name not in names or opened.last_query < long_ago:
                self._close(name, opened)
        return runs

    async def ask(self, run: str, key: Hashable, question: Callable[[RunView], T]) -> T:
        """Return the answer to a query on a run, from the cache if it is recent.

        Args:
            run: name of the run.
            key: of the query; queries with the same key share an answer.
            question: the query, called with the run's store.

        Raises:
            NoSuchRun: there is no such run.
            StoreUnavailable: the source or the run cannot be reached.
            UsageError: the source refuses the user, or the checkpoint cannot be read.
        """
        if run not in self._open:
            if all(found["run"] != run for found in await self.list()):
                raise NoSuchRun(f"run {run!r} does not exist at {self.name}")
            if run not in self._open:  # another request may have opened it meanwhile
                self._open[run] = _QueriedRun(f"run {run!r} at {self.name}", self._source.open(run))
        opened = self._open[run]
        try:
            return await opened.ask(key, question)
        except (StoreUnavailable, UsageError):
            if opened.failed and self._open.get(run) is opened:
                self._close(run, opened)  # open it again at the next query: it may be another run then
            raise

    def _close(self, run: str, opened: _QueriedRun) -> None:
        del self._open[run]
        opened.close()


class _QueriedRun:
    """An open run with its cache.

    Attributes:
        last_query: time of the latest query, in seconds of the monotonic clock.
        failed: whether the run was missing or unreachable the last time. A slow answer is not a failure.
    """

    def __init__(self, name: str, run: OpenRun) -> None:
        self._run = run
        self._cache = QueryCache(name)
        self.last_query = time.monotonic()
        self.failed = False

    async def ask(self, key: Hashable, question: Callable[[RunView], T]) -> T:
        self.last_query = time.monotonic()
        return await self._cache.ask(key, lambda: self._answer(question))

    def close(self) -> None:
        self._cache.close(last=self._run.close)

    def _answer(self, question: Callable[[RunView], T]) -> T:
        self.failed = False
        try:
            return question(self._run.store())
        except (StoreUnavailable, UsageError):
            self.failed = True
            raise
