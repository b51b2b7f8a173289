"""Asking a place that takes its time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from sadp_dist.dashboard import query_cache
from sadp_dist.dashboard.query_cache import MOST_WAITING, QueryCache
from sadp_dist.errors import StoreUnavailable, UsageError


@pytest.fixture
def asker():
    asker = QueryCache("the place")
    yield asker
    asker.close(lambda: None)


class Hanging:
    """A call that returns once it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self._released = threading.Event()

    def __call__(self) -> str:
        self.calls += 1
        assert self._released.wait(240)
        return "at last"

    def release(self) -> None:
        self._released.set()


def test_all_who_ask_the_same_at_once_get_one_answer(asker):
    hanging = Hanging()

    async def ask_twenty_times():
        asked = [asyncio.create_task(asker.ask("same", hanging)) for _ in range(20)]
        await asyncio.sleep(0.05)
        hanging.release()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask_twenty_times()) == 20 * ["at last"]
    assert hanging.calls == 1


def test_an_answer_is_good_for_a_moment_and_then_asked_for_anew(asker, monkeypatch):
    monkeypatch.setattr(query_cache, "KEPT", 2.0)
    moments = iter(range(100))

    async def ask_until_new():
        first = [await asker.ask("now", lambda: next(moments)) for _ in range(3)]
        while (later := await asker.ask("now", lambda: next(moments))) == first[0]:
            await asyncio.sleep(0.02)
        return first, later

    assert asyncio.run(ask_until_new()) == ([0, 0, 0], 1)


def test_who_asks_a_place_that_hangs_is_told_so_and_the_answer_comes_later(asker, monkeypatch):
    monkeypatch.setattr(query_cache, "PATIENCE", 0.05)
    hanging = Hanging()

    async def ask():
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"the place did not answer within 0\.05 s"):
                await asker.ask("slow", hanging)
        hanging.release()
        monkeypatch.setattr(query_cache, "PATIENCE", 60.0)
        return await asker.ask("slow", hanging)

    assert asyncio.run(ask()) == "at last"
    assert hanging.calls == 1


def test_what_was_wrong_the_last_time_is_said_while_it_is_tried_again(asker, monkeypatch):
    monkeypatch.setattr(query_cache, "KEPT", 0.0)
    hanging = Hanging()

    def refuse():
        raise StoreUnavailable("it is down")

    async def ask():
        with pytest.raises(StoreUnavailable, match="it is down"):
            await asker.ask("first", refuse)
        with pytest.raises(StoreUnavailable, match="it is down"):
            await asker.ask("second", hanging)
        hanging.release()
        monkeypatch.setattr(query_cache, "NO_PATIENCE", 60.0)
        assert await asker.ask("second", hanging) == "at last"

    asyncio.run(ask())


def test_errors_come_back_to_who_asked(asker):
    def mistake():
        raise UsageError("a mistake")

    async def ask():
        for _ in range(2):
            with pytest.raises(UsageError, match="a mistake"):
                await asker.ask("mistake", mistake)
        assert await asker.ask("other", lambda: 1) == 1

    asyncio.run(ask())


def test_no_more_than_so_many_questions_wait(asker, monkeypatch):
    monkeypatch.setattr(query_cache, "PATIENCE", 0.01)
    monkeypatch.setattr(query_cache, "NO_PATIENCE", 0.0)
    hanging = Hanging()

    async def ask():
        for number in range(MOST_WAITING):
            with pytest.raises(StoreUnavailable, match="did not answer"):
                await asker.ask(number, hanging)
        with pytest.raises(StoreUnavailable, match="64 waiting queries"):
            await asker.ask("one more", hanging)
        hanging.release()
        while hanging.calls < MOST_WAITING:
            await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_closing_ends_the_thread_after_what_it_does_last():
    asker = QueryCache("a place to leave")
    done = threading.Event()
    asker.close(done.set)
    assert done.wait(240)
    until = time.monotonic() + 60
    while any(thread.name == "queries a place to leave" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
