"""Questions to a place that may take its time, or never answer, from a server that must do neither."""

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
"""Seconds that somebody waits for an answer."""
NO_PATIENCE = 0.2
"""Seconds that somebody waits for a place that has not answered the last one."""
KEPT, LONGEST_KEPT = 1.0, 4.0
"""Seconds for which an answer is good, at least and at most."""
PAUSE = 4
"""An answer is good for this many times as long as it took, so that asking takes a small part of the time."""
MOST_WAITING = 64
"""Questions that may be waiting at once."""

T = TypeVar("T")


class QueryCache:
    """Asks a place one thing at a time, in a thread of its own, and keeps each answer for a moment.

    All who ask the same meanwhile share the answer, so many open pages cost as much as one. Its thread does
    not hold up the end of the process. It belongs to one event loop.

    Args:
        place: what is asked, as the errors name it.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._problem: str | None = None
        self._answers: dict[Hashable, _Answer] = {}
        self._questions: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"asks {place}", daemon=True).start()

    async def ask(self, key: Hashable, call: Callable[[], T]) -> T:
        """What a call returns or raises, now or a moment ago.

        Args:
            key: what is asked; two calls of the same key are the same question.
            call: asks it, in the thread.

        Raises:
            StoreUnavailable: the answer did not come in time; it goes on being waited for.
        """
        now = time.monotonic()
        self._answers = {each: answer for each, answer in self._answers.items() if answer.good_until > now}
        answer = self._answers.get(key)
        if answer is None:
            if sum(not each.future.done() for each in self._answers.values()) >= MOST_WAITING:
                raise StoreUnavailable(f"{self._place} is being asked too much at once; try again in a while")
            answer = self._answers[key] = _Answer(call)
            self._questions.put(answer)
        patience = PATIENCE if self._problem is None else NO_PATIENCE
        try:
            # Shielded: others wait for it, too.
            result: T = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(answer.future)), patience)
        except TimeoutError:
            if self._problem is None:
                self._problem = f"{self._place} has not answered within {PATIENCE:g} s"
            raise StoreUnavailable(self._problem) from None
        return result

    def close(self, last: Callable[[], None]) -> None:
        """End the thread, once it has answered what it has been asked.

        Args:
            last: what it does in the end.
        """
        self._questions.put(_Answer(last))
        self._questions.put(None)

    def _work(self) -> None:
        while (answer := self._questions.get()) is not None:
            answer.find()
            error = answer.future.exception()
            self._problem = str(error) if isinstance(error, StoreUnavailable) else None


class _Answer:
    """An answer that is looked for, or has been found.

    Attributes:
        future: the answer.
        good_until: in seconds of the monotonic clock; for ever while it is looked for.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.future: Future[Any] = Future()
        self.good_until = math.inf

    def find(self) -> None:
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
