"""What a client with rights writes into the keys of one run hides no other run, and `rm` removes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import redis as redis_py

from sadp_dist import PruningConfig, connect
from sadp_dist.store import list_runs, remove_run
from sadp_dist.store.backends.redis.server import RUNS
from sadp_dist.store.backends.redis.state import Keys, Meta
from tests.cli.test_commands import sadp_dist_command
from tests.store.redis_server import RedisServer, ServeProcess, until

N = 40
PRUNING = PruningConfig(ratio=0.5, epochs=3)
BAD = "bad"
KEYS = Keys(BAD)


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def begin(redis: RedisServer, run: str, epochs: int = 1) -> None:
    with connect(redis.url, run, N, PRUNING, planner="rank0", timeout=240) as store:
        for epoch in range(epochs):
            store.plan(epoch, 0, 1)
            store.push(np.arange(N), np.ones(N), epoch=epoch)


def change(**fields: object) -> Callable[[redis_py.Redis], None]:
    def ruin(client: redis_py.Redis) -> None:
        client.set(KEYS.meta, json.dumps({**json.loads(client.get(KEYS.meta)), **fields}))

    return ruin


def other_kind(key: str) -> Callable[[redis_py.Redis], None]:
    def ruin(client: redis_py.Redis) -> None:
        client.delete(key)
        client.lpush(key, "garbage")

    return ruin


def ruin_snapshot(client: redis_py.Redis) -> None:
    meta = Meta.unpack(client.get(KEYS.meta))
    assert meta is not None
    client.hset(KEYS.snapshot(meta.snapshot), "0", b"PK garbage")


RUINS: dict[str, Callable[[redis_py.Redis], None]] = {
    "meta that is no JSON": lambda client: client.set(KEYS.meta, b"\xff\x00{"),
    "meta of deeply nested JSON": lambda client: client.set(KEYS.meta, b"[" * 100_000),
    "meta that is a list of Redis": other_kind(KEYS.meta),
    "facts that are text": change(facts="garbage"),
    "a dataset size that is text": change(facts={"dataset_size": "many"}),
    "an epoch that is text": change(epoch="first"),
    "a time that is infinite": change(saved=float("inf")),
    "a position without a number": change(position="here"),
    "a lease that is no JSON": lambda client: client.set(KEYS.lease, b"\xff"),
    "a lease that is a list of JSON": lambda client: client.set(KEYS.lease, b"[1]"),
    "a lease that is a list of Redis": other_kind(KEYS.lease),
    "a snapshot that is none": ruin_snapshot,
}


@pytest.mark.parametrize("ruin", RUINS)
def test_a_ruined_run_is_listed_with_its_problem_beside_the_others_and_can_be_removed(redis, ruin):
    begin(redis, BAD, epochs=3)  # to its end: whether it is done is in its snapshot
    begin(redis, "good")
    RUINS[ruin](redis.client())
    listed = {run["run"]: run for run in list_runs(redis.url)}
    assert set(listed) == {BAD, "good"}
    assert listed["good"]["dataset_size"] == N and "problem" not in listed["good"]
    assert listed[BAD]["problem"] and "\n" not in listed[BAD]["problem"]
    json.dumps(listed, allow_nan=False)
    remove_run(redis.url, BAD)
    assert [run["run"] for run in list_runs(redis.url)] == ["good"]
    begin(redis, BAD)
    assert all("problem" not in run for run in list_runs(redis.url))
    remove_run(redis.url, BAD)


@pytest.mark.slow
def test_the_command_names_the_bad_run_and_a_name_that_is_none(redis):
    begin(redis, BAD)
    begin(redis, "good")
    RUINS["facts that are text"](redis.client())
    redis.client().sadd(RUNS, b"\xff\xfe", b"")
    shown = sadp_dist_command("runs", "--store", redis.url, "--json")
    assert shown.returncode == 0, shown.stderr
    runs = {run["run"]: run for run in json.loads(shown.stdout)}
    assert {name for name in runs if "problem" in runs[name]} == {BAD, r"\xff\xfe", ""}
    assert "not the name of a run" in runs[r"\xff\xfe"]["problem"]
    table = sadp_dist_command("runs", "--store", redis.url)
    assert table.returncode == 0 and "problem" in table.stdout
    removed = sadp_dist_command("rm", "--store", redis.url, "--run", r"\xff\xfe", "--yes")
    assert removed.returncode == 0, removed.stderr
    redis.client().srem(RUNS, b"")
    assert {run["run"] for run in list_runs(redis.url)} == {BAD, "good"}
    remove_run(redis.url, BAD)


@pytest.mark.slow
def test_serve_plans_the_good_run_beside_a_bad_one(redis):
    begin(redis, BAD)
    RUINS["meta that is no JSON"](redis.client())
    redis.client().sadd(RUNS, b"\xff\xfe")
    with ServeProcess(redis.url) as server:
        with connect(redis.url, "served", N, PRUNING, planner="server", timeout=240) as store:
            for epoch in range(2):
                store.plan(epoch, 0, 1)
                store.push(np.arange(N), np.ones(N), epoch=epoch)
        server.wait_for(f"run {BAD}:")
        assert server.process.poll() is None
    remove_run(redis.url, BAD)
    remove_run(redis.url, r"\xff\xfe")


@pytest.mark.parametrize("value", [b"\xff", b"[1]", b'{"planner": "nobody"}'])
def test_a_planner_takes_a_lease_that_no_planner_has_written(redis, value):
    with connect(redis.url, "lease", N, PRUNING, planner="rank0", timeout=240) as store:
        store.plan(0, 0, 1)
        store.push(np.arange(N), np.ones(N), epoch=0)
        redis.client().set(Keys("lease").lease, value)
        redis.client().set(Keys("lease").planner, value)
        store.plan(1, 0, 1)
        until(lambda: b"rank 0" in (redis.client().get(Keys("lease").lease) or b""))
    remove_run(redis.url, "lease")
