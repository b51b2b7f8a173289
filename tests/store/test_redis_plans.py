"""Plans over a real Redis: those of the embedded store, for whoever pushed what in whichever order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.selection.plan import Shard
from sadp_dist.store import Store, attach
from sadp_dist.store.backends import redis as redis_backend
from sadp_dist.store.backends.redis import list_runs
from sadp_dist.store.backends.redis.state import Keys
from sadp_dist.store.connection import StoreOptions, Waiting
from sadp_dist.store.engine.run import Run
from tests.store.redis_server import RedisServer

N = 1003
PRUNING = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=6, min_probability=0.1, stratify="class", seed=2)
PLUS = PruningConfig(method="sadp-plus", ratio=0.4, max_ratio=0.6, epochs=6, seed=2, calibrate=True)
LABELS = np.arange(N) % 7


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def rank_of(
    redis: RedisServer,
    run: str,
    planner: str = "server",
    pruning: PruningConfig = PRUNING,
    **options: object,
) -> Store:
    return connect(redis.url, run, N, pruning, LABELS, planner=planner, **options)


def embedded(pruning: PruningConfig = PRUNING) -> Store:
    return connect("memory:", "embedded", N, pruning, LABELS)


def scores_of(epoch: int) -> np.ndarray:
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


def push_epoch(store: Store, epoch: int, examples: np.ndarray, chance: np.random.Generator) -> None:
    """In batches of any order, a third of them twice."""
    scores = scores_of(epoch)
    batches = np.array_split(chance.permutation(examples), 9)
    for number in chance.permutation([*range(9), 2, 5, 8]):
        store.push(batches[number], scores[batches[number]], epoch=epoch)


def assert_same(shard: Shard, expected: Shard) -> None:
    assert shard.indices.tolist() == expected.indices.tolist()
    assert shard.weights.tolist() == expected.weights.tolist()
    for name in ("subset_size", "dataset_size", "ratio", "epoch", "drawn"):
        assert getattr(shard, name) == getattr(expected, name)


@pytest.mark.parametrize(
    ("world_size", "pruning"), [(1, PRUNING), (2, PRUNING.replace(shard_block=50)), (4, PLUS)]
)
def test_plans_are_the_embedded_stores_for_any_number_of_ranks_order_and_repeats(redis, world_size, pruning):
    expected, chance = embedded(pruning), np.random.default_rng(world_size)
    with ExitStack() as stack, ThreadPoolExecutor(world_size) as pool:
        first = rank_of(redis, f"worlds-{world_size}", "rank0", pruning)
        others = [rank_of(redis, f"worlds-{world_size}", pruning=pruning) for _ in range(world_size - 1)]
        ranks = [stack.enter_context(store) for store in (first, *others)]
        for epoch in range(4):
            plans = pool.map(lambda r: ranks[r].plan(epoch, r, world_size), range(world_size))  # noqa: B023
            for rank, shard in enumerate(plans):
                assert_same(shard, expected.plan(epoch, rank, world_size))
            owner = chance.integers(world_size, size=N)
            for rank, own in enumerate(chance.spawn(world_size)):
                push_epoch(ranks[rank], epoch, np.flatnonzero(owner == rank), own)
            expected.push(np.arange(N), scores_of(epoch), epoch=epoch)
            for store in (ranks[0], expected):
                store.record(epoch, {"loss": 1 / (1 + epoch), "test_accuracy": epoch / 10})
        for store in ranks:
            store.flush()
        watching = stack.enter_context(attach(redis.url, f"worlds-{world_size}"))
        for store in (*ranks, watching):
            assert store.history() == expected.history()
            assert store.classes() == expected.classes()
            np.testing.assert_array_equal(store.top(N, by="change"), expected.top(N, by="change"))
        assert watching.stats().rank_epochs == [3] * world_size


def test_the_world_size_may_change_and_a_plan_once_made_is_the_same_for_all_who_ask_later(redis):
    expected = embedded()
    with rank_of(redis, "elastic", planner="rank0") as store:
        assert_same(store.plan(0, 0, 1), expected.plan(0, 0, 1))
        for store_ in (store, expected):
            store_.push(np.arange(N), scores_of(0), epoch=0)
        with rank_of(redis, "elastic") as other, ThreadPoolExecutor(2) as pool:
            plans = list(pool.map(lambda r: (store, other)[r].plan(1, r, 2), range(2)))
            for rank, shard in enumerate(plans):
                assert_same(shard, expected.plan(1, rank, 2))
            other.push(np.arange(N), scores_of(5), epoch=1)
        with rank_of(redis, "elastic") as late:  # a rank that was started again
            assert_same(late.plan(1, 1, 3), expected.plan(1, 1, 3))
            with pytest.raises(UsageError, match="epoch=0 .* is over"):
                late.plan(0, 0, 1)


@pytest.mark.parametrize("epochs", [2, 4])
def test_a_script_that_runs_again_is_told_and_begins_anew_as_if_there_had_been_no_run(redis, epochs):
    expected, name = embedded(), f"again-{epochs}"
    with rank_of(redis, name, planner="rank0") as first:
        for epoch in range(epochs):
            first.plan(epoch)
            first.push(np.arange(N), 1 / scores_of(epoch), epoch=epoch)
        first.flush()
    with rank_of(redis, name, planner="rank0", timeout=240) as second:
        with pytest.raises(UsageError, match=f"epoch=0 .* the run is at epoch={epochs - 1}. store.reset"):
            second.plan(0)
        assert second.stats().bad_frames == {}  # what is refused is not written to the log
        second.reset()
        for epoch in range(epochs):
            assert_same(second.plan(epoch), expected.plan(epoch))
            for store in (second, expected):
                store.push(np.arange(N), scores_of(epoch), epoch=epoch)


def connection_to(redis: RedisServer, run: str, planner: str = "server"):
    return redis_backend.connect(redis.url, Run(run, N, PRUNING, LABELS), StoreOptions(planner=planner))


def test_who_is_waited_for_is_known_once_a_planner_has_read_who_asked(redis):
    asking = connection_to(redis, "waiting")
    asking.ask(0, 1, 3)
    assert asking.shard(0, 1, 3, patience=0.05) == Waiting((), None)
    planning = connection_to(redis, "waiting", planner="rank0")
    waiting = Waiting((), None)
    while not waiting.ranks:
        waiting = asking.shard(0, 1, 3, patience=0.1)
    assert waiting.ranks == (0, 2)
    assert waiting.planner.startswith("rank 0 at ")
    assert asking.query("stats", {}).waiting_ranks == [0, 2]
    for rank in (0, 2):
        planning.ask(0, rank, 3)
    assert asking.shard(0, 1, 3, patience=60).epoch == 0
    asking.close()
    planning.close()


@pytest.mark.parametrize(
    ("planner", "message"),
    [
        ("server", 'waited 3 s for a planner, and none runs: start "sadp-dist serve"'),
        ("rank0", "waited 3 s for rank 1 of 2"),
    ],
)
def test_a_plan_that_does_not_come_names_who_is_missing(redis, planner, message):
    with rank_of(redis, f"missing-{planner}", planner=planner, timeout=3) as store:
        with pytest.raises(StoreUnavailable, match=message) as refused:
            store.plan(0, 0, 2)
        assert "\n" not in str(refused.value)


def test_ranks_that_come_at_the_same_time_make_one_run(redis):
    before = redis.client().info("commandstats").get("cmdstat_hset", {"calls": 0})
    with ThreadPoolExecutor(8) as pool:
        connections = list(pool.map(lambda _: connection_to(redis, "at once"), range(8)))
    assert redis.client().info("commandstats")["cmdstat_hset"]["calls"] == before["calls"] + 1  # one uploads
    assert len({connection._token for connection in connections}) == 1
    names = [key for key in redis.client().keys("*at%20once*") if b":snapshot:" in key or b":log:" in key]
    assert len(names) == 2
    for connection in connections:
        connection.close()


def test_a_rank_that_dies_while_it_begins_the_run_leaves_it_to_another(redis):
    redis.client().set(Keys("half begun").beginning, b"1", px=1000)
    connection_to(redis, "half begun").close()
    assert "half begun" in {found["run"] for found in list_runs(redis.url)}
    assert redis.client().get(Keys("half begun").beginning) is None


def test_a_run_remembers_what_it_is_and_refuses_who_disagrees_in_one_line(redis):
    rank_of(redis, "facts").close()
    for dataset_size, pruning, labels, message in (
        (N + 1, PRUNING, np.arange(N + 1) % 7, f"dataset_size={N} (here {N + 1})"),
        (N, PruningConfig(ratio=0.4, epochs=6, seed=3), LABELS, "pruning.seed=2 (here 3)"),
        (N, PRUNING, LABELS[::-1], "labels='crc32:"),
    ):
        with pytest.raises(UsageError, match="run 'facts' at redis://") as refused:
            connect(redis.url, "facts", dataset_size, pruning, labels, planner="server")
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)


def test_whoever_looks_at_a_run_gets_the_fingerprints_of_its_data(redis):
    data = {"content": "0123", "labels": "4567"}
    with connect(redis.url, "with data", N, PRUNING, LABELS, data=data) as store:
        assert store.stats().data == data
    with attach(redis.url, "with data") as watching:
        assert watching.stats().data == data


def test_any_name_is_good_for_a_run_and_runs_do_not_meet(redis):
    names = ["{a}", "a:b {c} é", "{", "job", "job2"]
    for number, name in enumerate(names):
        with rank_of(redis, name, planner="rank0") as store:
            store.push([number], [1.0 + number], epoch=0)
            store.flush()
            assert store.stats().seen == 1
    listed = {found["run"]: found for found in list_runs(redis.url)}
    assert set(names) <= set(listed)
    assert {listed[name]["dataset_size"] for name in names} == {N}
    json.dumps(list(listed.values()))
    tags = {key[: key.index(b"}") + 1] for key in redis.client().keys("sadp_dist:{*")}
    assert len(tags) >= len(names)
    assert all(tag.count(b"{") == 1 for tag in tags)
