"""A key of a run is deleted, or Redis has no memory for a snapshot: the planner goes on from its memory."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.store import StoreOptions, StoreUnavailable, attach
from sadp_dist.store.backends import redis as redis_backend
from sadp_dist.store.backends.redis.state import Keys, Meta
from sadp_dist.store.connection import Unreachable, until_reached
from sadp_dist.store.engine.frames import Frame
from sadp_dist.store.engine.run import Records, Run
from tests.store.redis_server import ENOUGH, RedisServer, ServeProcess, until

N = 4000
PRUNING = PruningConfig(ratio=0.5, epochs=4, seed=3)
NAMES = ("meta", "snapshot", "log", "shards", "status", "lease", "planner")


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def keys_of(redis: RedisServer, run: str) -> dict[str, str]:
    keys = Keys(run)
    meta = Meta.unpack(redis.client().get(keys.meta))
    assert meta is not None
    named = {
        "snapshot": keys.snapshot(meta.snapshot),
        "log": keys.log(meta.log),
        "shards": keys.shards(meta.log),
    }
    return {**{name: getattr(keys, name) for name in NAMES if name not in named}, **named}


def scores_of(epoch: int) -> np.ndarray:
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


@pytest.mark.parametrize("lost", NAMES)
def test_a_key_that_is_deleted_comes_back_and_the_plans_stay_the_same(redis, lost):
    run = f"lost {lost}"
    with (
        connect(redis.url, run, N, PRUNING, planner="rank0", timeout=240) as store,
        connect("memory:", run, N, PRUNING) as expected,
    ):
        for epoch in range(4):
            mine, theirs = store.plan(epoch, 0, 1), expected.plan(epoch, 0, 1)
            assert mine.indices.tolist() == theirs.indices.tolist()
            assert mine.weights.tolist() == theirs.weights.tolist()
            for each in (store, expected):
                each.push(np.arange(N), scores_of(epoch), epoch=epoch)
            store.flush()
            redis.client().delete(keys_of(redis, run)[lost])
        # Without the log, the last scores are there once the rank has sent them again.
        until(lambda: store.scores(np.arange(N)).tolist() == scores_of(3).tolist())
        assert len(redis.client().keys(Keys(run).meta.replace("meta", "*").replace("{", r"{"))) <= 9


@pytest.mark.parametrize("lost", ["meta", "snapshot"])
def test_the_planner_writes_a_lost_key_again_while_nobody_asks(redis, lost):
    run = f"quiet {lost}"
    with connect(redis.url, run, N, PRUNING, planner="rank0", timeout=240) as store:
        store.plan(0, 0, 1)
        store.push(np.arange(N), scores_of(0), epoch=0)
        store.flush()
        redis.client().delete(keys_of(redis, run)[lost])
        until(lambda: redis.client().exists(Keys(run).meta))
        until(lambda: redis.client().exists(keys_of(redis, run)["snapshot"]))
        with attach(redis.url, run, timeout=240) as view:
            assert view.scores(np.arange(N)).tolist() == scores_of(0).tolist()


def frames_of(size: int, count: int) -> list[Frame]:
    every = np.arange(size, dtype=np.int32)
    return [
        Frame(7, number + 1, 1, Records(every, np.full(size, 1 + number, np.float32), 0), 0)
        for number in range(count)
    ]


@pytest.mark.slow
def test_a_planner_that_was_suspended_until_redis_was_full_trims_before_it_makes_a_snapshot(tmp_path):
    size, run = 100_000, "full"
    pruning = PRUNING.replace(scheme="systematic")
    with RedisServer(tmp_path) as server, ServeProcess(server.url) as serve:
        job = Run(run, size, pruning)
        connection = redis_backend.connect(server.url, job, StoreOptions(planner="server", timeout=240))
        with closing(connection), connect("memory:", run, size, pruning) as expected:
            serve.wait_for(f"run {run}: took over")
            connection.ask(0, 0, 1)
            until(lambda: not isinstance(connection.shard(0, 0, 1, 0.5), tuple))
            used = server.client().info("memory")["used_memory"]
            server.configure(maxmemory=used + (8 << 20))
            os.kill(serve.process.pid, signal.SIGSTOP)
            frames, sent = frames_of(size, 200), 0
            with pytest.raises(Unreachable, match="out of memory"):
                for frame in frames:
                    connection.send([frame])
                    sent += 1
            assert sent > 3
            until(lambda: not server.client().exists(Keys(run).lease))
            os.kill(serve.process.pid, signal.SIGCONT)
            until(lambda: _asked(connection))
            shard = until(lambda: _shard(connection))
            expected.plan(0, 0, 1)
            for frame in frames[:sent]:
                expected.push(frame.content.indices, frame.content.scores, epoch=0)
            assert shard.indices.tolist() == expected.plan(1, 0, 1).indices.tolist()
            until(lambda: server.client().exists(keys_of(server, run)["snapshot"]))
            scores = until_reached(lambda: connection.query("scores", {"indices": np.arange(3)}), 240)
            assert scores.tolist() == [sent] * 3


def _asked(connection) -> bool:
    try:
        connection.ask(1, 0, 1)
    except Unreachable:
        return False
    return True


def _shard(connection):
    try:
        found = connection.shard(1, 0, 1, 1.0)
    except Unreachable:
        return None
    return found if hasattr(found, "indices") else None


@pytest.mark.slow
def test_a_run_whose_state_only_a_planner_has_is_given_to_nobody_else(redis):
    """Without the snapshot, the log may begin anywhere: no reader and no other planner takes it for all."""
    run = "only in memory"
    with ServeProcess(redis.url, "--run", run) as serve:
        job = Run(run, N, PRUNING)
        connection = redis_backend.connect(redis.url, job, StoreOptions(planner="server", timeout=240))
        with closing(connection):
            serve.wait_for("took over")
            connection.send(frames_of(N, 1))
            os.kill(serve.process.pid, signal.SIGSTOP)
            redis.client().delete(keys_of(redis, run)["snapshot"])
            until(lambda: not redis.client().exists(Keys(run).lease))
            with (
                pytest.raises(StoreUnavailable, match="snapshot of run 'only in memory' is missing"),
                attach(redis.url, run, timeout=8) as view,
            ):
                view.stats()
            with ServeProcess(redis.url, "--run", run) as other:
                other.wait_for("is missing")
                os.kill(serve.process.pid, signal.SIGCONT)
                with attach(redis.url, run, timeout=240) as view:
                    assert view.scores([0, 1]).tolist() == [1, 1]


@pytest.mark.slow
def test_a_connection_that_redis_cuts_for_its_output_buffer_is_named(tmp_path):
    size = 400_000
    with (
        RedisServer(tmp_path) as server,
        connect(server.url, "cut", size, PRUNING, planner="rank0", timeout=20) as store,
    ):
        store.plan(0, 0, 1)
        server.configure(client_output_buffer_limit="normal 262144 0 0")
        store.push(np.arange(size), np.ones(size), epoch=0)
        with pytest.raises(StoreUnavailable, match="client-output-buffer-limit") as stopped:
            store.plan(1, 0, 1)
        assert "\n" not in str(stopped.value)


def test_connect_warns_of_settings_that_can_cost_scores_or_memory(redis):
    def warned() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            connect(redis.url, "settings", N, PRUNING, planner="server").close()
        return [str(warning.message) for warning in caught]

    assert warned() == []
    try:
        redis.configure(maxmemory_policy="volatile-lru")
        assert "maxmemory-policy volatile-lru" in " ".join(warned())
        redis.configure(maxmemory_policy="noeviction", maxmemory=0)
        (line,) = warned()
        assert "no maxmemory" in line and "\n" not in line
    finally:
        redis.configure(maxmemory_policy="noeviction", maxmemory=ENOUGH)
