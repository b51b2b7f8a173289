"""The log of a run in a real Redis: what does not belong there, who reads it, and how short it stays."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store import Store, attach
from sadp_dist.store.backends.redis import lease, list_runs, remove_run, state
from sadp_dist.store.backends.redis.log import ASK, FRAME, pack_ask
from sadp_dist.store.backends.redis.state import Keys, Meta
from sadp_dist.store.engine.frames import Frame, encode
from sadp_dist.store.engine.run import Records
from tests.store.redis_server import RedisServer, until

N = 5000
PRUNING = PruningConfig(ratio=0.4, epochs=40, seed=2)


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def rank_of(redis: RedisServer, run: str, planner: str = "rank0", **options: object) -> Store:
    return connect(redis.url, run, N, PRUNING, planner=planner, **options)


def scores_of(epoch: int) -> np.ndarray:
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


def meta_of(redis: RedisServer, run: str) -> Meta:
    meta = Meta.unpack(redis.client().get(Keys(run).meta))
    assert meta is not None
    return meta


def log_of(redis: RedisServer, run: str) -> str:
    return Keys(run).log(meta_of(redis, run).log)


def bytes_in(redis: RedisServer, run: str) -> int:
    client = redis.client()
    return sum(client.memory_usage(key, samples=0) for key in client.scan_iter(f"*{{{run}}}*"))


def test_what_is_no_message_of_this_run_is_counted_and_skipped_and_nothing_else_is_touched(redis):
    token = 1
    with rank_of(redis, "dirt") as store, rank_of(redis, "clean") as clean:
        for each in (store, clean):
            each.push(np.arange(N), scores_of(0), epoch=0)
            each.flush()
        token = meta_of(redis, "dirt").token
        good = encode(Frame(7, 1, 1, Records(np.arange(9), np.full(9, 99, np.float32), 3)), token, N)
        foreign = encode(Frame(7, 1, 1, Records(np.arange(9), np.full(9, 99, np.float32), 3)), token ^ 1, N)
        outside = encode(Frame(7, 1, 1, Records(np.array([N]), np.ones(1, np.float32), 3)), token, N)
        client, log = redis.client(), log_of(redis, "dirt")
        dirt: list[dict[bytes, bytes]] = [
            {FRAME: b""},
            {FRAME: good[:-1]},
            {FRAME: good + b"\0"},
            {FRAME: good[:4] + b"\x09" + good[5:]},
            {FRAME: good[:-1] + bytes([good[-1] ^ 1])},
            {FRAME: b"GARB" + good[4:]},
            {FRAME: foreign},
            {FRAME: outside},
            {ASK: b"no"},
            {ASK: pack_ask(40, 0, 1)},
            {ASK: pack_ask(1, 3, 2)},
            {ASK: pack_ask(1, 0, 2**32 - 1)},
            {b"other": b"\x80\x04K\x01."},
        ]
        for fields in dirt:
            client.xadd(log, fields)
        bad = store.stats().bad_frames
        assert bad == {
            "truncated": 2,
            "oversized": 1,
            "version": 1,
            "checksum": 1,
            "not a frame": 6,
            "foreign run": 1,
            "values": 1,
        }
        assert sum(bad.values()) == len(dirt)
        assert store.scores(np.arange(N)).tolist() == scores_of(0).tolist()
        assert store.plan(1, 0, 1).indices.tolist() == clean.plan(1, 0, 1).indices.tolist()
        client.xadd(log, {FRAME: good})
        assert store.scores([0]).tolist() == [99]


def test_readers_see_all_that_was_acknowledged_while_the_run_goes_on(redis):
    with rank_of(redis, "read") as store, attach(redis.url, "read") as reader:
        for epoch in range(5):
            shard = store.plan(epoch, 0, 1)
            for batch in np.array_split(shard.indices, 7):
                store.push(batch, scores_of(epoch)[batch], epoch=epoch)
                store.flush()
                assert reader.scores(batch).tolist() == scores_of(epoch)[batch].tolist()
            assert reader.stats().epoch == epoch
            latest = np.sort(shard.indices)
        every = reader.scores(np.arange(N))
        assert every[latest].tolist() == scores_of(4)[latest].tolist()
        indices, scores = reader.top(20)
        order = np.argsort(-every, kind="stable")[:20]
        assert (indices.tolist(), scores.tolist()) == (order.tolist(), every[order].tolist())
        figures = reader.stats()
        assert figures.planner is not None and figures.planner.startswith("rank 0 at ")
        assert figures.last_snapshot is not None and abs(figures.last_snapshot - time.time()) < 60
        assert figures.bytes_received > 0


def test_a_reader_can_change_nothing(redis):
    rank_of(redis, "read-only").close()
    with attach(redis.url, "read-only") as reader:
        before = redis.client().get(Keys("read-only").meta)
        for call in (lambda: reader.push([0], [1.0], epoch=0), lambda: reader.plan(0), reader.reset):
            with pytest.raises(UsageError, match="can only be read"):
                call()
        assert redis.client().get(Keys("read-only").meta) == before
    with pytest.raises(UsageError, match="run='nobody' is not at redis://.*; there are: .*read-only"):
        attach(redis.url, "nobody")


def test_a_reader_follows_a_run_that_is_begun_anew(redis):
    with rank_of(redis, "anew") as store, attach(redis.url, "anew") as reader:
        store.push([1, 2], [1.0, 2.0], epoch=0)
        store.flush()
        assert reader.stats().seen == 2
        store.reset()
        assert reader.stats().seen == 0


def test_what_a_run_takes_in_redis_does_not_grow_with_its_epochs(redis):
    taken = []
    with rank_of(redis, "long") as store:
        for epoch in range(24):
            shard = store.plan(epoch, 0, 1)
            store.push(shard.indices, scores_of(epoch)[shard.indices], epoch=epoch)
            store.flush()
            until(lambda: meta_of(redis, "long").epoch == epoch)  # noqa: B023
            taken.append(bytes_in(redis, "long"))
        client = redis.client()
        assert client.xlen(log_of(redis, "long")) <= 2  # of the last epoch: its frame; its ask may be trimmed
        fields = client.hkeys(Keys("long").shards(meta_of(redis, "long").log))
        assert {int(field.split(b":")[0]) for field in fields} == {22, 23}
        assert len(client.keys("*{long}*")) <= 8
    assert max(taken[12:]) <= 1.2 * max(taken[2:12])


def test_a_long_epoch_is_snapshotted_in_its_middle(redis, monkeypatch):
    monkeypatch.setattr(lease, "LOG_LIMIT", 100_000)
    with rank_of(redis, "middle") as store:
        store.plan(0, 0, 1)
        for round_ in range(10):
            store.push(np.arange(N), scores_of(round_), epoch=round_)
            store.flush()
        until(lambda: meta_of(redis, "middle").position != "0-0")
        until(lambda: redis.client().xlen(log_of(redis, "middle")) < 5)
        assert store.scores(np.arange(N)).tolist() == scores_of(9).tolist()
        assert store.stats().pushes == 10


def test_a_snapshot_waits_until_the_log_is_as_long_as_the_one_before(redis, monkeypatch):
    monkeypatch.setattr(lease, "LOG_LIMIT", 1000)
    for module in (lease, state):
        monkeypatch.setattr(module, "PIECE", 10_000)
    with rank_of(redis, "spaced") as store:
        store.plan(0, 0, 1)
        until(lambda: meta_of(redis, "spaced").epoch == 0)
        planned = meta_of(redis, "spaced")
        assert (planned.pieces - 1) * 10_000 > 40_000 + 1000, "more than the frame of one push"
        client, log = redis.client(), log_of(redis, "spaced")
        store.push(np.arange(N), scores_of(0), epoch=0)
        store.flush()
        until(lambda: client.xinfo_groups(log)[0]["lag"] == 0)
        time.sleep(0.3)  # the planner has it, and does with it what it does
        assert meta_of(redis, "spaced").snapshot == planned.snapshot
        for _ in range(5):
            store.push(np.arange(N), scores_of(0), epoch=0)
            store.flush()
        until(lambda: meta_of(redis, "spaced").snapshot != planned.snapshot)


def test_a_run_that_was_reset_or_loaded_has_forgotten_the_rest(redis, tmp_path):
    with rank_of(redis, "again") as store, connect("memory:", "again", N, PRUNING) as expected:
        for each in (store, expected):
            each.push(np.arange(N), scores_of(0), epoch=0)
            each.plan(1, 0, 1)
            each.save(tmp_path / "store.npz")
            each.push(np.arange(N), scores_of(1), epoch=1)
            each.plan(2, 0, 1)
            each.load(tmp_path / "store.npz")
            each.push(np.arange(0, N, 2), scores_of(2)[::2], epoch=1)
        assert store.plan(1, 0, 1).indices.tolist() == expected.plan(1, 0, 1).indices.tolist()
        assert store.plan(2, 0, 1).indices.tolist() == expected.plan(2, 0, 1).indices.tolist()
        assert np.array_equal(store.scores(np.arange(N)), expected.scores(np.arange(N)))
        log = meta_of(redis, "again").log
        store.reset()
        expected.reset()
        assert store.stats().seen == 0
        assert store.plan(0, 0, 1).indices.tolist() == expected.plan(0, 0, 1).indices.tolist()
        assert not redis.client().keys(f"*{log}*")


def test_two_jobs_of_one_name_do_not_mix_the_first_one_stops(redis):
    with rank_of(redis, "name") as first, rank_of(redis, "name") as second:
        first.push([1], [1.0], epoch=0)
        first.flush()
        second.reset()
        first.push([2], [1.0], epoch=0)
        with pytest.raises(
            StoreUnavailable,
            match="run 'name' .* another job has started it anew .* another run name.*--resume",
        ) as e:
            first.flush()
        assert "\n" not in str(e.value)
        second.push([3], [1.0], epoch=0)
        second.flush()
        assert second.stats().seen == 1


RUINS = {
    "a fact more and one less": lambda meta: {**meta, "facts": {"dataset_size": N, "new": 1}},
    "a field less": lambda meta: {name: meta[name] for name in meta if name != "pieces"},
    "a field more": lambda meta: {**meta, "new": 1},
    "nearly nothing": lambda meta: {"version": 1},
    "another version": lambda meta: {**meta, "version": 7},
    "no object": lambda meta: [1, 2],
}


@pytest.mark.parametrize("ruin", RUINS)
def test_a_run_of_another_release_is_one_line_does_not_hide_the_others_and_can_be_removed(redis, ruin):
    name = f"theirs with {ruin}"
    with rank_of(redis, name) as store:
        store.push([1], [1.0], epoch=0)
        store.plan(0, 0, 1)
    rank_of(redis, "ours").close()
    client, key = redis.client(), Keys(name).meta
    client.set(key, json.dumps(RUINS[ruin](json.loads(client.get(key)))))
    with pytest.raises((UsageError, StoreUnavailable), match="sadp-dist rm") as refused:
        rank_of(redis, name)
    assert "\n" not in str(refused.value)
    listed = {found["run"]: found for found in list_runs(redis.url)}
    assert listed["ours"]["dataset_size"] == N and "problem" not in listed["ours"]
    assert set(listed["ours"]) <= set(listed[name])
    if ruin != "a fact more and one less":
        assert "another release" in listed[name]["problem"]
    json.dumps(list(listed.values()))
    remove_run(redis.url, name)
    assert name not in {found["run"] for found in list_runs(redis.url)}
    if ruin not in ("nearly nothing", "no object"):  # else nothing says what its other keys are called
        assert bytes_in(redis, quote(name)) < 1000


def test_a_value_in_redis_is_small_enough_for_a_slow_line(redis):
    examples = 1_500_000
    with connect(redis.url, "large", examples, PruningConfig(ratio=0, epochs=2), planner="rank0") as store:
        assert len(store.plan(0, 0, 1).indices) == examples
        until(lambda: meta_of(redis, "large").epoch == 0)
        meta, client = meta_of(redis, "large"), redis.client()
        assert meta.pieces > 4
        for key in (
            Keys("large").snapshot(meta.snapshot),
            Keys("large").shards(meta.log),
        ):
            sizes = [client.hstrlen(key, field) for field in client.hkeys(key)]
            assert len(sizes) > 4
            assert max(sizes) <= 4 << 20
    remove_run(redis.url, "large")


def test_a_removed_run_is_gone_and_who_trains_it_stops_with_one_line(redis):
    with rank_of(redis, "gone") as store:
        store.push([1], [1.0], epoch=0)
        store.plan(0, 0, 1)
        remove_run(redis.url, "gone")
        with pytest.raises(StoreUnavailable, match="run 'gone' has been removed from redis://") as error:
            store.plan(1, 0, 1)
        assert "\n" not in str(error.value)
    assert "gone" not in {found["run"] for found in list_runs(redis.url)}
    with pytest.raises(UsageError, match="run='gone' is not at"):
        remove_run(redis.url, "gone")
    assert bytes_in(redis, "gone") < 1000
    with rank_of(redis, "gone") as anew:
        assert anew.stats().seen == 0
        anew.plan(0, 0, 1)
