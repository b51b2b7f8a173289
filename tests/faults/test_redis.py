"""A real redis-server breaks while two ranks train: they draw the same subsets, and no score is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sadp_dist.store.backends.redis.state import Keys, Meta
from tests.faults.case import BOUNDARY, MIDDLE, Case, Outcome, break_in
from tests.faults.job import Job
from tests.store.redis_server import RedisServer

pytestmark = pytest.mark.slow

Fault = Callable[[RedisServer], AbstractContextManager[None]]


def lasting(
    seconds: float, begin: Callable[[RedisServer], object], end: Callable[[RedisServer], object]
) -> Fault:
    """A fault that is undone after some seconds."""

    @contextmanager
    def fault(redis: RedisServer) -> Iterator[None]:
        begin(redis)
        yield
        time.sleep(seconds)
        end(redis)

    return fault


def passes(redis: RedisServer) -> None:
    """It ends without anybody doing anything."""


def fill_memory(redis: RedisServer) -> None:
    with redis.client() as client:
        redis.configure(maxmemory=client.info("memory")["used_memory"])


def follow_nobody(redis: RedisServer) -> None:
    """A replica of a server that does not answer: read-only, with the data it has."""
    with redis.client() as client:
        client.replicaof("127.0.0.1", 1)


def lead_again(redis: RedisServer) -> None:
    with redis.client() as client:
        client.replicaof("NO", "ONE")


def delete(redis: RedisServer, name: str) -> None:
    keys = Keys("job")
    with redis.client() as client:
        meta = Meta.unpack(client.get(keys.meta))
        assert meta is not None
        assert client.delete(keys.meta if name == "meta" else keys.snapshot(meta.snapshot))


@contextmanager
def power_cut(redis: RedisServer) -> Iterator[None]:
    """The machine goes off before the last second of the AOF is on the disk."""
    (log,) = (redis.folder / "appendonlydir").glob("*.incr.aof")
    on_disk = log.stat().st_size
    while log.stat().st_size == on_disk:
        time.sleep(0.01)
    time.sleep(0.5)
    redis.kill()
    with log.open("r+b") as file:
        file.truncate(on_disk)
    yield
    redis.start()


FAULTS: dict[str, Fault] = {
    "kill -9 of redis-server, started again after 2 s": lasting(2, RedisServer.kill, RedisServer.start),
    "power cut: redis-server comes back without the last second of its AOF": power_cut,
    "redis-server restarted empty": lasting(0, RedisServer.restart_empty, passes),
    "`CLIENT PAUSE` for 4 s": lasting(0, lambda redis: redis.pause(4), passes),
    "redis-server stopped for 4 s (SIGSTOP)": lasting(4, RedisServer.freeze, RedisServer.thaw),
    "out of memory for 3 s": lasting(3, fill_memory, lambda redis: redis.configure(maxmemory=0)),
    "read-only for 3 s (a replica)": lasting(3, follow_nobody, lead_again),
    "read-only for 3 s (too few replicas)": lasting(
        3,
        lambda redis: redis.configure(min_replicas_to_write=1),
        lambda redis: redis.configure(min_replicas_to_write=0),
    ),
    "a client deletes the run's `meta`": lasting(0, lambda redis: delete(redis, "meta"), passes),
    "a client deletes the run's snapshot": lasting(0, lambda redis: delete(redis, "snapshot"), passes),
}


CASES = [Case(fault, when, "Redis") for fault in FAULTS for when in (MIDDLE, BOUNDARY)]


def observe(case: Case, folder: Path) -> Outcome:
    with RedisServer(folder / "redis", aof=True) as redis:
        return break_in(Job(redis.url, folder / "job"), case.when, lambda: FAULTS[case.fault](redis))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_run_goes_on_with_the_same_subsets_and_no_score_missing(running, check_row, case):
    check_row(case, running[case].result())
