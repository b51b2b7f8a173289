"""The service against a plain one of dicts: who asked, what is planned and counted, after any history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, plan_epoch
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.frames import REASONS, Frame, encode
from sadp_dist.store.engine.run import Records, Run
from sadp_dist.store.engine.service import Service
from sadp_dist.store.engine.snapshot import Snapshot

N, EPOCHS, TOKEN = 9, 4, 77
RUN = Run("plain", N, PruningConfig(ratio=0.3, epochs=EPOCHS, min_probability=0.2, seed=3))
WORLD_SIZES = (1, 2, 3)


def new_service() -> Service:
    return Service(Engine(RUN), TOKEN)


def frame_of(rows, epoch=0, client=1, sequence=1, pushes=1, rejected=0) -> bytes:
    records = Records(
        np.array([index for index, _ in rows], np.int64),
        np.array([score for _, score in rows], np.float32),
        epoch,
    )
    return encode(Frame(client, sequence, pushes, records, rejected), TOKEN, N)


def restarted(service: Service) -> Service:
    return Service.from_snapshot(Snapshot.from_bytes(service.snapshot().to_bytes(), "service"))


class PlainService:
    """The same in dicts and sets, and nothing of it is ever written and read back."""

    def __init__(self) -> None:
        self.scores: dict[int, tuple[int, float]] = {}
        self.newest: dict[int, int] = {}
        self.asks: list[tuple[int, int, int]] = []
        self.plans: dict[int, object] = {}
        self.counts = dict.fromkeys(("pushes", "pushed_scores", "rejected_pushes", "bytes_received"), 0)
        self.bad_frames: dict[str, int] = {}

    def receive_frame(self, data, rows, epoch, client, sequence, pushes, rejected) -> None:
        self.counts["bytes_received"] += len(data)
        for index, score in rows:
            self.scores[index] = max(self.scores.get(index, (-1, 0.0)), (epoch, score))
        if sequence > self.newest.get(client, 0):
            self.newest[client] = sequence
            self.counts["pushes"] += pushes
            self.counts["pushed_scores"] += len(rows)
            self.counts["rejected_pushes"] += rejected

    def receive_other(self, data, reason) -> None:
        self.counts["bytes_received"] += len(data)
        self.bad_frames[reason] = self.bad_frames.get(reason, 0) + 1

    def ask(self, epoch, rank, size) -> list[tuple[int, int]] | None:
        """None: it is refused."""
        if epoch < max(self.plans, default=0):
            return None
        if epoch in self.plans:
            return [(rank, size)]
        self.asks.append((epoch, rank, size))
        if any((epoch, other, size) not in self.asks for other in range(size)):
            return []
        self.plans[epoch] = plan_epoch(self.array(), epoch, RUN.pruning)
        self.plans = dict(list(self.plans.items())[-2:])
        ready = {(other, theirs) for asked, other, theirs in self.asks if asked == epoch}
        self.asks = [ask for ask in self.asks if ask[0] > epoch]
        return sorted(ready)

    def array(self) -> np.ndarray:
        return np.array([self.scores.get(index, (0, np.nan))[1] for index in range(N)], np.float32)

    def missing(self, epoch, size) -> tuple[int, ...]:
        return tuple(rank for rank in range(size) if (epoch, rank, size) not in self.asks)

    def waited_for(self) -> list[int]:
        newest = max(((epoch, size) for epoch, _, size in self.asks), default=None)
        return list(self.missing(*newest)) if newest else []


rows = st.lists(
    st.tuples(st.integers(0, N - 1), st.floats(0, 100, width=32)), max_size=5, unique_by=lambda row: row[0]
)
sent = st.tuples(
    st.just("frame"),
    st.fixed_dictionaries(
        {
            "rows": rows,
            "epoch": st.integers(0, EPOCHS - 1),
            "client": st.integers(1, 3),
            "sequence": st.integers(1, 6),
            "pushes": st.integers(0, 9),
            "rejected": st.integers(0, 2),
        }
    ),
)
others = st.tuples(st.just("other"), st.sampled_from([(b"", "truncated"), (b"x" * 50, "not a frame")]))
asks = st.tuples(
    st.just("ask"),
    st.sampled_from([(e, r, w) for e in range(EPOCHS) for w in WORLD_SIZES for r in range(w)]),
)
histories = st.lists(st.one_of(sent, asks, asks, others, st.just(("restart", None))), max_size=40)


@settings(max_examples=200)
@given(histories)
def test_after_any_history_it_answers_as_the_plain_one_also_if_it_was_written_and_read_in_between(history):
    service, plain = new_service(), PlainService()
    for kind, what in history:
        if kind == "frame":
            data = frame_of(**what)
            service.receive(data)
            plain.receive_frame(data, **what)
        elif kind == "other":
            service.receive(what[0])
            plain.receive_other(*what)
        elif kind == "ask":
            expected = plain.ask(*what)
            if expected is None:
                with pytest.raises(UsageError, match=r"epoch=\d of run 'plain' is over"):
                    service.ask(*what)
            else:
                assert sorted(service.ask(*what)) == expected
        else:
            service = restarted(service)
        for epoch in range(EPOCHS):
            assert service.engine.has_plan(epoch) == (epoch in plain.plans)
            for size in WORLD_SIZES:
                if epoch not in plain.plans:
                    assert service.shard(epoch, 0, size) is None
                    assert service.missing(epoch, size) == plain.missing(epoch, size)
    np.testing.assert_array_equal(service.engine.scores(np.arange(N)), plain.array())
    for epoch, plan in plain.plans.items():
        for size in WORLD_SIZES:
            for rank in range(size):
                shard, expected = service.shard(epoch, rank, size), plan.shard(rank, size)
                np.testing.assert_array_equal(shard.indices, expected.indices)
                np.testing.assert_array_equal(shard.weights, expected.weights)
    stats = service.answer("stats", {}, planner="here", last_snapshot=5.0)
    assert {name: getattr(stats, name) for name in plain.counts} == plain.counts
    assert stats.bad_frames == plain.bad_frames
    assert stats.waiting_ranks == plain.waited_for()
    assert (stats.planner, stats.last_snapshot) == ("here", 5.0)


def test_an_epoch_is_planned_when_its_last_rank_asks_whichever_that_is():
    service = new_service()
    assert service.ask(1, 2, 3) == []
    assert service.ask(1, 0, 3) == []
    assert service.ask(1, 0, 3) == []  # a repeat is not another rank
    assert service.shard(1, 2, 3) is None
    assert service.waiting_ranks() == (1,)
    assert service.ask(1, 1, 3) == [(0, 3), (1, 3), (2, 3)]
    assert service.shard(1, 2, 3) is not None
    assert service.waiting_ranks() == ()


def test_ranks_of_a_smaller_job_do_not_wait_for_those_that_the_larger_one_lost():
    service = new_service()
    assert service.ask(2, 0, 3) == service.ask(2, 1, 3) == []
    assert service.ask(2, 0, 2) == []
    assert service.ask(2, 1, 2) == [(0, 3), (1, 3), (0, 2), (1, 2)]
    assert service.waiting_ranks() == ()


def test_scores_that_come_after_the_plan_do_not_change_it():
    service = new_service()
    service.receive(frame_of([(1, 5.0), (2, 1.0)]))
    service.ask(1, 0, 1)
    before = service.shard(1, 0, 1)
    service.receive(frame_of([(1, 0.0), (2, 99.0)], epoch=1, sequence=2))
    assert service.ask(1, 0, 1) == [(0, 1)]
    np.testing.assert_array_equal(service.shard(1, 0, 1).weights, before.weights)


def test_what_is_not_of_this_run_is_counted_by_its_reason_and_touches_nothing_else():
    service = new_service()
    service.receive(frame_of([(4, 2.0)]))
    service.ask(1, 0, 2)
    before = service.snapshot()
    scores = before.table.scores.copy()
    whole = frame_of([(4, 3.0), (5, 3.0)], sequence=2)
    foreign = encode(Frame(1, 3, 1, Records(np.array([4]), np.ones(1, np.float32), 0)), TOKEN + 1, N)
    inputs = {
        "truncated": whole[:-1],
        "oversized": whole + b"x",
        "not a frame": b"X" + whole[1:],
        "version": whole[:4] + b"\x02" + whole[5:],
        "checksum": whole[:-1] + b"x",
        "foreign run": foreign,
        "values": frame_of([(N, 3.0)], sequence=4),
    }
    assert set(inputs) == set(REASONS)
    for data in inputs.values():
        service.receive(data)
    stats = service.answer("stats", {})
    assert stats.bad_frames == dict.fromkeys(REASONS, 1)
    assert stats.bytes_received == len(frame_of([(4, 2.0)])) + sum(map(len, inputs.values()))
    assert (stats.pushes, stats.pushed_scores, stats.seen, stats.waiting_ranks) == (1, 1, 1, [1])
    np.testing.assert_array_equal(service.engine.scores(np.arange(N)), scores)
    assert service.snapshot().service["sequences"] == before.service["sequences"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ((EPOCHS, 0, 1), "epoch=4 is not an epoch of this run"),
        ((0, 2, 2), r"rank=2 is not an integer in 0\.\.1"),
        ((0, 0, 10**9), r"world_size=1000000000 is not an integer in 1\.\.65536"),
    ],
)
def test_an_ask_out_of_range_is_refused_and_not_kept(ask, message):
    service = new_service()
    with pytest.raises(UsageError, match=message):
        service.ask(*ask)
    assert service.waits() == {}


def test_who_begins_without_resetting_a_run_that_has_got_further_is_told_how():
    service = new_service()
    service.ask(0, 0, 1)
    service.ask(1, 0, 1)
    before = service.state()
    with pytest.raises(
        UsageError, match=r"the run is at epoch=1. store.reset\(\) begins it again"
    ) as refusal:
        service.ask(0, 0, 1)  # though that plan is still kept
    assert "\n" not in str(refusal.value)
    assert service.state() == before
    assert service.ask(1, 1, 2) == [(1, 2)]  # who comes back while its epoch lasts goes on


def test_a_restored_service_begins_from_the_snapshot_under_its_new_token():
    service = new_service()
    service.receive(frame_of([(1, 5.0), (2, 1.0)]))
    service.ask(1, 0, 1)
    old = Snapshot.from_bytes(service.snapshot().to_bytes(), "old")
    service.receive(frame_of([(3, 7.0)], epoch=1, sequence=2))
    service.receive(b"")
    service.ask(2, 0, 2)
    service.restore(old, TOKEN + 1)
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(service.engine.scores(np.arange(N)))), [1, 2])
    assert service.engine.has_plan(1)
    assert service.waits() == {}
    service.receive(frame_of([(3, 7.0)], epoch=1, sequence=2))  # still on its way, with the old token
    assert service.engine.stats().seen == 2
    assert service.answer("stats", {}).bad_frames == {"foreign run": 1}
