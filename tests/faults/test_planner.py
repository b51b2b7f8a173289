"""The planner beside a real Redis breaks: another one goes on, or the run says what is missing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sadp_dist.store.backends.redis.log import pack_ask
from sadp_dist.store.backends.redis.state import shard_field
from tests.faults.case import BOUNDARY, MIDDLE, Case, Outcome, break_in
from tests.faults.job import Job
from tests.faults.planner import Planner
from tests.store.redis_server import RedisServer, until

pytestmark = pytest.mark.slow

Fault = Callable[[RedisServer, Planner, Planner, Job], AbstractContextManager[None]]


@contextmanager
def another_starts(redis: RedisServer, first: Planner, second: Planner, job: Job) -> Iterator[None]:
    first.kill()
    yield
    time.sleep(2)
    second.start()


@contextmanager
def nobody_starts_another(redis: RedisServer, first: Planner, second: Planner, job: Job) -> Iterator[None]:
    first.kill()
    yield


@contextmanager
def two_at_once(redis: RedisServer, first: Planner, second: Planner, job: Job) -> Iterator[None]:
    second.start()
    yield


@contextmanager
def frozen_past_its_lease(redis: RedisServer, first: Planner, second: Planner, job: Job) -> Iterator[None]:
    second.start()
    first.signal(signal.SIGSTOP)
    yield
    job.reached(0, "push 2 0")  # of a plan that the second has made
    first.signal(signal.SIGCONT)


@contextmanager
def redis_restarted_empty(redis: RedisServer, first: Planner, second: Planner, job: Job) -> Iterator[None]:
    redis.restart_empty()
    yield


@contextmanager
def redis_restarted_empty_behind_a_slow_planner(
    redis: RedisServer, first: Planner, second: Planner, job: Job
) -> Iterator[None]:
    """What the ranks push meanwhile is in Redis alone when that is lost."""
    first.signal(signal.SIGSTOP)
    yield
    time.sleep(0.3)
    redis.restart_empty()
    first.signal(signal.SIGCONT)


@contextmanager
def redis_restarted_empty_without_planner(
    redis: RedisServer, first: Planner, second: Planner, job: Job
) -> Iterator[None]:
    first.kill()
    redis.restart_empty()
    second.start()
    yield


def power_cut(first_lost: bytes, behind: bytes = b"") -> Fault:
    """One machine has both. Its disk has Redis's log up to where some bytes begin, behind some others."""

    @contextmanager
    def fault(redis: RedisServer, first: Planner, second: Planner, job: Job) -> Iterator[None]:
        (log,) = (redis.folder / "appendonlydir").glob("*.incr.aof")

        def cut() -> int | None:
            data = log.read_bytes()
            begin = data.find(behind)
            found = data.find(first_lost, begin) if begin >= 0 else -1
            return found if found > 0 else None

        end = until(cut)  # while the disk is busy, Redis writes its log up to two seconds late
        first.kill()
        redis.kill()
        log.write_bytes(log.read_bytes()[:end])
        redis.start()
        second.start()
        yield

    return fault


LATEST_ASK, LATEST_SHARD = pack_ask(1, 1, 2), shard_field(1, 1, 2, 0).encode()


FAULTS: dict[str, tuple[Fault, Mapping[str, Any]]] = {
    "kill -9 of `sadp-dist serve`, another one started after 2 s": (another_starts, {"planner": "server"}),
    "kill -9 of `sadp-dist serve`, `planner: auto`": (nobody_starts_another, {"planner": "auto"}),
    "kill -9 of `sadp-dist serve`, `planner: server`, no other started": (
        nobody_starts_another,
        {"planner": "server", "timeout": 20},
    ),
    "two planners at once": (two_at_once, {"planner": "server"}),
    "planner stopped (SIGSTOP) past its lease, another takes over, then it goes on": (
        frozen_past_its_lease,
        {"planner": "server"},
    ),
    "redis-server restarted empty, `sadp-dist serve` still there": (
        redis_restarted_empty,
        {"planner": "server"},
    ),
    "redis-server restarted empty while `sadp-dist serve` is behind (SIGSTOP)": (
        redis_restarted_empty_behind_a_slow_planner,
        {"planner": "server"},
    ),
    "redis-server restarted empty, and its planner killed and started again": (
        redis_restarted_empty_without_planner,
        {"planner": "server", "timeout": 20},
    ),
    "power cut of redis-server and of its planner, the latest plan not yet on the disk": (
        power_cut(LATEST_ASK),
        {"planner": "server", "timeout": 20},
    ),
    "power cut of redis-server and of its planner, the latest plan on the disk, not what came after": (
        power_cut(b"XADD", behind=LATEST_SHARD),
        {"planner": "server"},
    ),
}


CASES = [Case(fault, when, "Redis") for fault in FAULTS for when in (MIDDLE, BOUNDARY)]


def observe(case: Case, folder: Path) -> Outcome:
    fault, options = FAULTS[case.fault]
    log = folder / "planner.log"
    with (
        RedisServer(folder / "redis", aof=True) as redis,
        Planner(redis.url, log) as first,
        Planner(redis.url, log) as second,
    ):
        first.start()
        first.ready()
        job = Job(redis.url, folder / "job", options)
        return break_in(job, case.when, lambda: fault(redis, first, second, job))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_run_goes_on_or_stops_with_a_line(running, check_row, case):
    check_row(case, running[case].result())
