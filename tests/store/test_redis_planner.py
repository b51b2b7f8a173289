"""Who plans a run in Redis, and what becomes of it when that one, or Redis, is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.store import Store, StoreOptions, StoreUnavailable
from sadp_dist.store.backends import redis as redis_backend
from sadp_dist.store.backends.redis import list_runs, remove_run, serving
from sadp_dist.store.backends.redis.address import Address
from sadp_dist.store.backends.redis.lease import Lease, LeaseLost, acquire
from sadp_dist.store.backends.redis.planner import Planner
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import Keys, Meta, begin, holder
from sadp_dist.store.connection import Waiting
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.service import Service
from tests.ports import free_port
from tests.store.redis_server import RedisServer, ServeProcess, until

N = 2000
PRUNING = PruningConfig(  # keeps the most
    method="sadp-plus", ratio=0.4, max_ratio=0.6, epochs=12, seed=4, calibrate=True
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(tmp_path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", aof=True) as server:
        yield server


def rank_of(redis: RedisServer, run: str, planner: str = "server", **options: object) -> Store:
    return connect(redis.url, run, N, PRUNING, planner=planner, timeout=240, **options)


def meta_of(redis: RedisServer, run: str) -> Meta | None:
    return Meta.unpack(redis.client().get(Keys(run).meta))


def planner_of(redis: RedisServer, run: str) -> str | None:
    return holder(redis.client().get(Keys(run).lease))


class Job:
    """Two ranks beside an embedded store that gets the same pushes; an epoch's scores come in two halves."""

    def __init__(self, ranks: list[Store]) -> None:
        self.ranks, self.expected = ranks, connect("memory:", "expected", N, PRUNING)

    def push(self, epoch: int, half: int) -> None:
        scores = np.random.default_rng((epoch, half)).lognormal(size=N).astype(np.float32)
        for rank, store in enumerate(self.ranks):
            mine = np.arange(rank + 2 * half, N, 4)
            store.push(mine, scores[mine], epoch=epoch)
            self.expected.push(mine, scores[mine], epoch=epoch)

    def flush(self) -> None:
        for store in self.ranks:
            store.flush()

    def plan(self, epoch: int) -> None:
        with ThreadPoolExecutor(2) as pool:
            plans = list(pool.map(lambda r: self.ranks[r].plan(epoch, r, 2), range(2)))
        for rank, shard in enumerate(plans):
            expected = self.expected.plan(epoch, rank, 2)
            assert shard.indices.tolist() == expected.indices.tolist()
            assert shard.weights.tolist() == expected.weights.tolist()

    def epoch(self, epoch: int) -> None:
        self.plan(epoch)
        self.push(epoch, 0)
        self.push(epoch, 1)


@contextmanager
def job(redis: RedisServer, run: str, planner: str = "server") -> Iterator[Job]:
    with rank_of(redis, run, planner) as first, rank_of(redis, run) as second:
        yield Job([first, second])


@pytest.mark.slow
def test_two_servers_and_a_rank_that_could_plan_are_harmless_together(shared):
    with (
        ServeProcess(shared.url) as one,
        ServeProcess(shared.url) as two,
        job(shared, "three", "auto") as run,
    ):
        for server in (one, two):
            server.wait_for("planning for")
        for epoch in range(6):
            run.epoch(epoch)
        until(lambda: "serve" in (planner_of(shared, "three") or ""))
        assert {server.terminate() for server in (one, two)} == {0}
        run.plan(6)
        assert planner_of(shared, "three").startswith("rank 0 at ")


@pytest.mark.slow
def test_when_the_server_is_killed_between_two_asks_rank_0_takes_over_and_nothing_changes(shared):
    with ServeProcess(shared.url, "--run", "killed") as server, job(shared, "killed", "auto") as run:
        until(lambda: "serve" in (planner_of(shared, "killed") or ""))
        run.epoch(0)
        run.flush()
        first, second = run.ranks
        with ThreadPoolExecutor(1) as pool:
            early = pool.submit(second.plan, 1, 1, 2)
            until(lambda: shared.client().get(Keys("killed").status) == b'{"1:2": [0]}')
            server.kill()
            shard = first.plan(1, 0, 2)
            assert shard.indices.tolist() == run.expected.plan(1, 0, 2).indices.tolist()
            assert early.result().indices.tolist() == run.expected.plan(1, 1, 2).indices.tolist()
        assert planner_of(shared, "killed").startswith("rank 0 at ")
        run.push(1, 0)
        run.epoch(2)


@pytest.mark.slow
def test_a_server_that_slept_past_its_lease_finds_that_it_has_nothing_to_say_any_more(shared):
    with ServeProcess(shared.url, "--run", "asleep") as server, job(shared, "asleep", "auto") as run:
        until(lambda: "serve" in (planner_of(shared, "asleep") or ""))
        run.epoch(0)
        run.flush()
        os.kill(server.process.pid, signal.SIGSTOP)
        run.epoch(1)
        assert planner_of(shared, "asleep").startswith("rank 0 at ")
        os.kill(server.process.pid, signal.SIGCONT)
        for epoch in (2, 3, 4):
            run.epoch(epoch)


def test_a_planner_without_the_lease_publishes_nothing(shared):
    name = "no lease"
    with job(shared, name) as run:
        server = Server(Address.parse(shared.url))
        planner = Planner(server, name, "first")
        planner.start()
        run.epoch(0)
        run.flush()
        client, keys = shared.client(), Keys(name)
        before, published = client.get(keys.meta), client.hkeys(keys.shards(meta_of(shared, name).log))
        for key in (keys.planner, keys.lease):
            client.set(key, b'{"token": 9, "planner": "another"}')
        for connection in [store._connection for store in run.ranks]:
            for rank in range(2):
                connection.ask(1, rank, 2)
        until(lambda: planner._lease is None)
        time.sleep(0.3)
        assert client.get(keys.meta) == before
        assert client.hkeys(keys.shards(meta_of(shared, name).log)) == published
        assert isinstance(run.ranks[0]._connection.shard(1, 0, 2, 0.1), Waiting)
        client.delete(keys.lease)
        run.plan(1)
        planner.stop()


def test_each_holder_of_the_lease_has_a_larger_token_and_the_former_one_cannot_write(shared):
    server, keys = Server(Address.parse(shared.url)), Keys("lease")
    leases: list[Lease] = []
    for _ in range(3):
        lease = acquire(server, keys, "one")
        assert lease is not None
        assert acquire(server, keys, "another") is None
        leases.append(lease)
        shared.client().delete(keys.lease)
    assert [lease.token for lease in leases] == [1, 2, 3]
    last = acquire(server, keys, "last")
    with server.redis.pipeline() as pipe:
        with pytest.raises(LeaseLost):
            leases[0].guard(pipe)
        with pytest.raises(LeaseLost):
            leases[0].check()
        last.guard(pipe)
        pipe.multi()
        pipe.set(keys.status, "written")
        shared.client().pexpire(keys.lease, 5000)  # renewed meanwhile
        pipe.execute()
        last.guard(pipe)
        shared.client().delete(keys.lease)
        leases.append(acquire(server, keys, "next"))
        pipe.multi()
        pipe.set(keys.status, "written")
        with pytest.raises(Exception, match="Watched variable changed"):
            pipe.execute()
    leases[1].release()
    assert acquire(server, keys, "another") is None
    for each in (*leases, last):
        each.release()
    one_more = acquire(server, keys, "one more")
    assert one_more.token == 6
    one_more.release()


@pytest.mark.slow
def test_a_rank_leaves_the_run_to_a_server_and_takes_it_back_when_that_ends(shared):
    with job(shared, "back", "auto") as run:
        run.epoch(0)
        assert planner_of(shared, "back").startswith("rank 0 at ")
        with ServeProcess(shared.url) as server:
            server.wait_for("run back: took over")
            run.epoch(1)
            run.epoch(2)
            server.wait_for("run back: epoch 3 of ")
            assert server.terminate() == 0
        run.epoch(3)
        assert planner_of(shared, "back").startswith("rank 0 at ")


@pytest.mark.slow
def test_redis_killed_and_restarted_from_its_file_loses_nothing(redis):
    with job(redis, "aof", "rank0") as run:
        for epoch in range(4):
            run.plan(epoch)
            run.push(epoch, 0)
            run.flush()
            redis.kill()
            run.push(epoch, 1)
            redis.start()
        run.plan(4)


@pytest.mark.slow
def test_redis_restarted_empty_gets_the_run_back_from_its_planner(redis):
    with job(redis, "empty", "rank0") as run:
        run.epoch(0)
        token = meta_of(redis, "empty").token
        redis.restart_empty()  # at the boundary
        run.plan(1)
        run.push(1, 0)
        run.flush()
        redis.restart_empty()  # in the middle of an epoch
        run.push(1, 1)
        run.plan(2)
        assert meta_of(redis, "empty").token == token
        assert [found["run"] for found in list_runs(redis.url)] == ["empty"]
        expected = run.expected.scores(np.arange(N))
        assert np.array_equal(run.ranks[1].scores(np.arange(N)), expected, equal_nan=True)


@pytest.mark.slow
def test_a_server_gives_an_empty_redis_back_its_runs(redis):
    with ServeProcess(redis.url) as server, job(redis, "served") as run, job(redis, "other") as other:
        for each in (run, other):
            each.epoch(0)
            each.plan(1)
        redis.restart_empty()
        for each in (run, other):
            each.push(1, 0)
            each.epoch(2)
            each.plan(3)
        server.wait_for("wrote it again")
        server.wait_for("is back")


@pytest.mark.slow
def test_a_planner_that_knows_nothing_waits_for_one_that_does_when_redis_comes_back_empty(redis):
    with job(redis, "two", "rank0") as run, ServeProcess(redis.url) as server:
        server.wait_for("planning for")
        run.epoch(0)
        run.plan(1)
        assert planner_of(redis, "two").startswith("rank 0 at ")
        for epoch in (1, 2):
            redis.restart_empty()
            run.push(epoch, 0)
            run.plan(epoch + 1)


@pytest.mark.slow
def test_a_server_that_slept_while_another_one_planned_does_not_bring_back_what_it_remembers(redis):
    with ServeProcess(redis.url) as asleep, job(redis, "stale") as run:
        run.epoch(0)
        run.flush()
        os.kill(asleep.process.pid, signal.SIGSTOP)
        with ServeProcess(redis.url):
            run.epoch(1)
            run.epoch(2)
            run.plan(3)
        redis.kill()
        redis.start()
        os.kill(asleep.process.pid, signal.SIGCONT)
        run.push(3, 0)
        run.plan(4)


@pytest.mark.slow
def test_redis_that_lost_a_plan_and_has_no_planner_who_remembers_is_not_written_to(redis):
    with job(redis, "cut") as run:
        with ServeProcess(redis.url) as server:
            run.epoch(0)
            run.flush()
            log = next((redis.folder / "appendonlydir").glob("*.incr.aof"))
            on_disk = log.stat().st_size
            run.plan(1)
            server.kill()
        redis.kill()
        with log.open("r+b") as file:
            file.truncate(on_disk)
        redis.start()
        for store in run.ranks:
            store._timeout = store._sender._timeout = 3.0
        with ServeProcess(redis.url) as server:
            server.wait_for("run cut: took over")
            length = redis.client().xlen(Keys("cut").log(meta_of(redis, "cut").log))
            run.push(1, 0)
            for rank, store in enumerate(run.ranks):
                with pytest.raises(
                    StoreUnavailable, match="without the plan of epoch 2 .* --resume"
                ) as error:
                    store.plan(2, rank, 2)
                assert "\n" not in str(error.value)
            assert redis.client().xlen(Keys("cut").log(meta_of(redis, "cut").log)) == length


def test_ranks_stop_with_one_line_where_a_run_comes_back_older_than_their_latest_plan(shared):
    with job(shared, "older", "rank0") as run:
        server, keys = Server(Address.parse(shared.url)), Keys("older")
        run.epoch(0)
        run.plan(1)
        old = Service(Engine(Run("older", N, PRUNING)), meta_of(shared, "older").token)
        begin(server, keys, old, shared.client().get(keys.meta))
        with pytest.raises(
            StoreUnavailable, match="came back without the plan of epoch 2 .* --resume"
        ) as error:
            run.ranks[0].plan(2, 0, 2)
        assert "\n" not in str(error.value)


def test_a_stream_that_somebody_deleted_is_begun_anew(shared):
    with job(shared, "deleted", "rank0") as run:
        run.epoch(0)
        run.flush()
        shared.client().delete(Keys("deleted").log(meta_of(shared, "deleted").log))
        run.plan(1)
        run.epoch(1)
        run.plan(2)


def test_serve_waits_for_a_redis_that_is_not_there_yet_and_says_so_once(tmp_path):
    port = free_port()
    with ServeProcess(f"redis://127.0.0.1:{port}/0") as server:
        server.wait_for("cannot be reached")
        time.sleep(1)
        with RedisServer(tmp_path, port=port) as redis, job(redis, "late") as run:
            server.wait_for(f"planning for redis://127.0.0.1:{port}/0")
            run.epoch(0)
            run.plan(1)
            server.wait_for("run late: epoch 2 of ")
            assert server.terminate() == 0
        assert sum("cannot be reached" in line for line in server.lines) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_told_to_stop_ends_with_0_and_frees_its_runs(shared, number):
    name = f"stop {number}"
    with job(shared, name) as run, ServeProcess(shared.url, "--run", name) as server:
        run.epoch(0)
        server.process.send_signal(number)
        assert server.process.wait(240) == 0
        assert planner_of(shared, name) is None
        assert not any("Traceback" in line for line in server.lines)


def test_serve_forgets_a_run_that_is_removed_and_plans_one_of_the_same_name(shared):
    with ServeProcess(shared.url) as server:
        with job(shared, "same name") as run:
            run.epoch(0)
        remove_run(shared.url, "same name")
        server.wait_for("run 'same name' has been removed")
        with job(shared, "same name") as run:
            run.epoch(0)
            run.plan(1)


@pytest.mark.slow
def test_serve_lets_go_of_a_run_that_nobody_writes_to_and_takes_it_again_when_somebody_does(
    shared, monkeypatch
):
    name, lines, stopped = "quiet", [], threading.Event()
    monkeypatch.setattr(serving, "IDLE_AFTER", 0.5)

    def threads() -> list[str]:
        return [
            thread.name
            for thread in threading.enumerate()
            if thread.name in ("sadp_dist planner", "sadp_dist lease")
        ]

    with ThreadPoolExecutor(1) as pool, job(shared, name) as run:
        serving_ = pool.submit(serving.serve, shared.url, name, lines.append, stopped)
        try:
            for epoch in range(3):
                run.epoch(epoch)
                run.flush()
                until(lambda: len([line for line in lines if "idle" in line]) == epoch + 1)  # noqa: B023
                assert planner_of(shared, name) is None
                assert threads() == []
            asking = run.ranks[0]._connection
            asking.ask(3, 0, 2)
            until(lambda: len([line for line in lines if "idle" in line]) == 4)
            waiting = asking.shard(3, 0, 2, patience=0.1)
            assert waiting.ranks == (1,)
            assert "serve" in waiting.planner
            run.plan(3)
            remove_run(shared.url, name)
        finally:
            stopped.set()
        serving_.result(240)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory:", "--store memory: must be a redis:// or rediss:// URL"),
        ("redis://:secret@/0", "names no host"),
        ("redis://127.0.0.1/x", "a database that is not a number"),
    ],
)
def test_serve_refuses_a_wrong_url_in_one_line(url, message):
    with ServeProcess(url) as server:
        assert server.process.wait(240) == 2
        server.wait_for(message)
        assert len(server.lines) == 1
        assert "secret" not in server.lines[0]


def test_the_planner_needs_no_torch():
    program = "import sys; sys.modules['torch'] = None; import sadp_dist.store.backends.redis.serving"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)


def test_a_planner_that_comes_goes_on_from_the_snapshot_and_the_log_behind_it(shared):
    connection = redis_backend.connect(shared.url, Run("resumed", N, PRUNING), StoreOptions(planner="server"))
    with job(shared, "resumed") as run:
        for planner_number in range(3):
            planner = Planner(Server(Address.parse(shared.url)), "resumed", f"number {planner_number}")
            planner.start()
            run.epoch(planner_number)
            planner.stop()
            assert connection.query("stats", {}).planner is None
            assert connection.query("stats", {}).epoch == planner_number
    connection.close()
