"""Asynchronous queries with a cache, to a source that may be slow or never answer."""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from sadp_dist.errors import StoreUnavailable

PATIENCE = 5.0
"""Seconds to wait for an answer."""
NO_PATIENCE = 0.2
"""Seconds to wait for a source that did not answer the previous query."""
KEPT, LONGEST_KEPT = 1.0, 4.0
"""Minimum and maximum seconds to cache an answer."""
PAUSE = 4
"""An answer is cached for this many times the seconds it took, so that a slow source is mostly idle."""
MOST_WAITING = 64
"""Maximum number of queries that wait at the same time."""

T = TypeVar("T")


class QueryCache:
    """Runs queries one at a time in its own daemon thread and caches the answers.

    Requests with the same key share one query, so many open pages cost as much as one. A cache belongs to one
    event loop.

    Args:
        source: name of what is queried, for error messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._problem: str | None = None
        self._answers: dict[Hashable, _Answer] = {}
        self._pending: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"queries {source}", daemon=True).start()

    async def ask(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return or raise what a call returns or raises, from the cache if it is recent.

        Args:
            key: of the query; calls with the same key share an answer.
            call: runs the query, in the thread.

        Raises:
            StoreUnavailable: there was no answer in time. The query goes on, and its answer is cached.
        """
        now = time.monotonic()
        self._answers = {each: answer for each, answer in self._answers.items() if answer.good_until > now}
        answer = self._answers.get(key)
        if answer is None:
            if sum(not each.future.done() for each in self._answers.values()) >= MOST_WAITING:
                raise StoreUnavailable(f"{self._source} has {MOST_WAITING} waiting queries; try again later")
            answer = self._answers[key] = _Answer(call)
            self._pending.put(answer)
        patience = PATIENCE if self._problem is None else NO_PATIENCE
        try:
            wrapped = asyncio.wrap_future(answer.future)
            # After a timeout nobody asks for the error, and asyncio would print its traceback.
            wrapped.add_done_callback(lambda done: done.cancelled() or done.exception())
            # Shielded, because other requests may wait for the same future.
            result: T = await asyncio.wait_for(asyncio.shield(wrapped), patience)
        except TimeoutError:
            if self._problem is None:
                self._problem = f"{self._source} did not answer within {PATIENCE:g} s"
            raise StoreUnavailable(self._problem) from None
        return result

    def close(self, last: Callable[[], None]) -> None:
        """End the thread after the pending queries.

        Args:
            last: called in the thread at the end.
        """
        self._pending.put(_Answer(last))
        self._pending.put(None)

    def _work(self) -> None:
        while (answer := self._pending.get()) is not None:
            answer.compute()
            error = answer.future.exception()
            self._problem = str(error) if isinstance(error, StoreUnavailable) else None


class _Answer:
    """A pending or cached answer.

    Attributes:
        future: the answer.
        good_until: expiry in seconds of the monotonic clock; infinity while the query is pending.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.future: Future[Any] = Future()
        self.good_until = math.inf

    def compute(self) -> None:
        began = time.monotonic()
        try:
            result = self._call()
        except Exception as error:
            self.good_until = time.monotonic() + KEPT
            self.future.set_exception(error)
        else:
            now = time.monotonic()
            self.good_until = now + min(max(KEPT, PAUSE * (now - began)), LONGEST_KEPT)
            self.future.set_result(result)
