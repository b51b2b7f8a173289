"""A rank's store elsewhere, over a backend in this process whose line is cut and which loses what it has."""

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.store import BACKENDS, Store, StoreOptions, attach, connect, open_snapshot
from sadp_dist.store.client import journal as journal_module
from sadp_dist.store.client import remote, sender
from sadp_dist.store.client.journal import Journal
from sadp_dist.store.client.remote import RemoteStore
from sadp_dist.store.connection import Waiting
from sadp_dist.store.engine.frames import Frame
from sadp_dist.store.engine.run import Figures, Records, Run
from tests.store.nearby import Backend, Nearby
from tests.store.redis_server import until

N = 500
PRUNING = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=6, min_probability=0.1, seed=2)
RUN = Run("nearby", N, PRUNING)


@pytest.fixture
def backend():
    return Backend(RUN)


@pytest.fixture
def new_store(backend):
    stores = []

    def new(timeout: float = 60.0) -> RemoteStore:
        connection = Nearby(backend)
        stores.append((RemoteStore(connection, RUN, StoreOptions(timeout=timeout)), connection))
        return stores[-1][0]

    yield new
    for store, connection in stores:
        connection.open.set()
        store.close()


def line_of(store: RemoteStore) -> Nearby:
    return store._connection


def scores_of(epoch: int) -> np.ndarray:
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


def push_all(store: Store, epoch: int, batch: int = 16) -> None:
    order = np.random.default_rng(epoch + 100).permutation(N)
    for start in range(0, N, batch):
        store.push(order[start : start + batch], scores_of(epoch)[order[start : start + batch]], epoch)


def expected_shards(epochs: int) -> list:
    """What the embedded store plans of the same pushes."""
    store = connect("memory:", "nearby", N, PRUNING)
    shards = [store.plan(0)]
    for epoch in range(epochs - 1):
        push_all(store, epoch)
        shards.append(store.plan(epoch + 1))
    return shards


def assert_same(shard, expected) -> None:
    np.testing.assert_array_equal(shard.indices, expected.indices)
    np.testing.assert_array_equal(shard.weights, expected.weights)
    assert (shard.epoch, shard.subset_size, shard.ratio) == (
        expected.epoch,
        expected.subset_size,
        expected.ratio,
    )


def in_a_thread(call, *arguments):
    """Start a call; the function that is returned waits for its result."""
    results, failures = [], []

    def run():
        try:
            results.append(call(*arguments))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result():
        thread.join(240)
        assert not thread.is_alive()
        if failures:
            raise failures[0]
        return results[0]

    return result


def test_it_plans_and_answers_as_the_embedded_store_does(new_store):
    store, embedded = new_store(), connect("memory:", "nearby", N, PRUNING)
    for epoch in range(3):
        assert_same(store.plan(epoch), embedded.plan(epoch))
        for each in (store, embedded):
            push_all(each, epoch)
            each.record(epoch, {"loss": 1 / (1 + epoch)})
    assert store.history() == embedded.history() and store.history()[2].training["loss"] == 1 / 3
    assert store.classes() == embedded.classes()
    np.testing.assert_array_equal(store.scores(np.arange(N)), scores_of(2))
    for by in ("score", "change"):
        for lowest in (False, True):
            np.testing.assert_array_equal(store.top(7, lowest, by), embedded.top(7, lowest, by))
    ours, theirs = store.stats().to_dict(), embedded.stats().to_dict()
    assert ours.pop("bytes_received") > 8 * 3 * N
    assert ours.pop("planner") == "nearby"
    assert ours.pop("rank_epochs") == [2]
    assert {name: theirs[name] for name in ours} == ours


def test_what_was_pushed_may_change_at_once(new_store):
    store = new_store()
    indices, scores = np.array([1, 2]), np.array([3.0, 4.0], np.float32)
    store.push(indices, scores, epoch=0)
    indices[:], scores[:] = 9, 9
    np.testing.assert_array_equal(store.scores([1, 2, 9]), np.array([3, 4, np.nan], np.float32))


def test_small_pushes_travel_together_and_large_ones_in_parts(backend):
    run = Run("nearby", 300_000, PRUNING)
    backend = Backend(run)
    with RemoteStore(Nearby(backend), run, StoreOptions()) as store:
        for start in range(0, 25_600, 256):
            store.push(np.arange(start, start + 256), np.ones(256), epoch=0)
        store.flush()
        small = sum(map(len, backend.received))
        store.push(np.arange(300_000), np.ones(300_000), epoch=0)
        stats = store.stats()
    sizes = [len(frame.content.indices) for frames in backend.received for frame in frames]
    assert 0 < small <= 10  # a hundred pushes
    assert (stats.pushes, stats.pushed_scores, max(sizes)) == (101, 325_600, sender.FRAME)


def test_a_push_does_not_wait_for_a_backend_that_is_slow_and_is_there_later(new_store):
    store = new_store(timeout=3600)
    line_of(store).open.clear()
    push_all(store, 0)  # while the backend takes nothing at all
    line_of(store).open.set()
    np.testing.assert_array_equal(store.scores(np.arange(N)), scores_of(0))


def test_pushes_wait_when_too_much_has_not_arrived_and_then_go_on(new_store, monkeypatch):
    monkeypatch.setattr(sender, "MAX_UNSENT", 64)
    store = new_store()
    line_of(store).open.clear()
    pushed = in_a_thread(push_all, store, 0)
    time.sleep(0.5)
    assert store._sender._unsent < 64 + 16  # no more than the bound and a push
    line_of(store).open.set()
    pushed()
    np.testing.assert_array_equal(store.scores(np.arange(N)), scores_of(0))


def test_a_line_that_is_cut_for_a_while_changes_nothing(new_store):
    store, expected = new_store(), expected_shards(3)
    assert_same(store.plan(0), expected[0])
    for epoch in (0, 1):
        line_of(store).up.clear()
        threading.Timer(0.7, line_of(store).up.set).start()
        push_all(store, epoch)
        assert_same(store.plan(epoch + 1), expected[epoch + 1])


def test_a_backend_that_lost_what_it_had_acknowledged_gets_it_again(new_store, backend):
    store, expected = new_store(), expected_shards(4)
    assert_same(store.plan(0), expected[0])
    for epoch in range(3):
        push_all(store, epoch)
        store.flush()
        backend.restart()
        assert backend.service.engine.stats().pushes == 32 * epoch  # of this epoch nothing is left there
        assert_same(store.plan(epoch + 1), expected[epoch + 1])
    assert store.stats().pushes == 3 * 32


@pytest.mark.parametrize("question", ["scores", "stats", "save", "flush"])
def test_it_is_noticed_whatever_is_asked_next(new_store, backend, question, tmp_path):
    store = new_store()
    push_all(store, 0)
    store.flush()
    backend.restart()
    ask = {"scores": ([1],), "save": (tmp_path / "store.npz",)}.get(question, ())
    getattr(store, question)(*ask)
    assert backend.service.engine.stats().seen == N


def test_a_restart_while_ranks_wait_for_each_other_loses_nobody(new_store, backend):
    first, second = new_store(), new_store()
    push_all(first, 0)
    shard = in_a_thread(first.plan, 1, 0, 2)
    until(lambda: backend.service.waiting_ranks() == (1,))
    backend.restart()
    second.push([0], [1e6], epoch=0)  # sends on a line that is of the life before
    other = second.plan(1, 1, 2)
    indices = np.concatenate([shard().indices, other.indices])
    assert backend.service.engine.stats().seen == N
    assert 0 in indices  # the highest score of all is drawn


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["push", "push", "flush", "restart", "cut", "plan"]), max_size=14))
def test_after_any_sequence_of_faults_the_plans_are_those_without(sequence):
    backend = Backend(RUN)
    embedded = connect("memory:", "nearby", N, PRUNING)
    chance = np.random.default_rng(len(sequence))
    epoch = 0
    with RemoteStore(Nearby(backend), RUN, StoreOptions(timeout=60)) as store:
        line = line_of(store)
        for action in [*sequence, "plan"]:
            if action == "push":
                indices, scores = chance.integers(0, N, 40), chance.random(40)
                store.push(indices, scores, epoch)
                embedded.push(indices, scores, epoch)
            elif action == "flush":
                store.flush()
            elif action == "restart":
                backend.restart()
            elif action == "cut":
                line.up.clear()
                threading.Timer(0.1, line.up.set).start()
            elif epoch < PRUNING.epochs - 1:
                epoch += 1
                assert_same(store.plan(epoch), embedded.plan(epoch))
        np.testing.assert_array_equal(store.scores(np.arange(N)), embedded.scores(np.arange(N)))
        counts = store.stats()
    assert (counts.pushes, counts.pushed_scores) == (embedded.stats().pushes, embedded.stats().pushed_scores)


class ThreadRanks:
    """Ranks of a job that are threads; what `Collective` is for processes."""

    def __init__(self, rank: int, barrier: threading.Barrier, said: dict) -> None:
        self.rank, self._barrier, self._said = rank, barrier, said

    def agree(self, call, step):
        self._said[self.rank] = step()
        self._barrier.wait(240)

    def on_rank_zero(self, step):
        if self.rank == 0:
            self._said["zero"] = step()
        self._barrier.wait(240)
        said = self._said["zero"]
        self._barrier.wait(240)
        return said

    def close(self):
        pass


@pytest.mark.parametrize("call", ["save", "flush"])
def test_scores_of_a_rank_that_had_delivered_before_the_backend_lost_them_are_there_when_all_are_through(
    backend, call, tmp_path
):
    barrier, said = threading.Barrier(2), {}
    ranks = [
        RemoteStore(Nearby(backend), RUN, StoreOptions(timeout=60), ThreadRanks(rank, barrier, said))
        for rank in range(2)
    ]
    arguments = (tmp_path / "store.npz",) if call == "save" else ()
    line_of(ranks[0]).open.clear()
    ranks[0].push([0], [1.0], epoch=0)
    ranks[1].push(np.arange(1, N), scores_of(0)[1:], epoch=0)
    done = [in_a_thread(lambda store=store: getattr(store, call)(*arguments)) for store in ranks]
    deadline = time.monotonic() + 60
    while backend.service.engine.stats().seen < N - 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)  # rank 1 has its acknowledgement, and waits for rank 0
    backend.restart()
    assert backend.service.engine.stats().seen == 0
    line_of(ranks[0]).open.set()  # whose sending thread is the first to notice
    for result in done:
        result()
    kept = open_snapshot(*arguments) if arguments else backend.service.engine
    assert kept.stats().seen == N
    for store in ranks:
        store.close()


def test_two_ranks_push_at_once_from_two_threads_and_get_the_plan_of_both(backend, new_store):
    expected = expected_shards(4)
    stores = [new_store(), new_store()]

    def train(rank: int) -> list:
        shards = [stores[rank].plan(0, rank, 2)]
        for epoch in range(3):
            for index in range(rank, N, 2):
                stores[rank].push([index], [scores_of(epoch)[index]], epoch)
            shards.append(stores[rank].plan(epoch + 1, rank, 2))
        return shards

    other = in_a_thread(train, 1)
    for mine, theirs, whole in zip(train(0), other(), expected, strict=True):
        drawn = {
            int(index): weight
            for shard in (mine, theirs)
            for index, weight in zip(shard.indices, shard.weights, strict=True)
            if weight > 0
        }
        assert drawn == dict(zip(whole.indices.tolist(), whole.weights.tolist(), strict=True))


# Giving up


def one_line(call, *arguments, **keywords) -> str:
    with pytest.raises(StoreUnavailable) as failure:
        call(*arguments, **keywords)
    assert "\n" not in str(failure.value)
    return str(failure.value)


def test_plan_names_the_ranks_that_it_waited_for(new_store):
    store = new_store(timeout=0.3)
    assert one_line(store.plan, 4, 2, 5) == (
        "epoch 5 of 6: waited 0.3 s for ranks 0, 1, 3, 4 of 5; see their output, or raise store.timeout"
    )
    assert "for rank 1 of 2;" in one_line(store.plan, 4, 0, 2)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (Waiting((1,), None), 'for a planner, and none runs: start "sadp-dist serve"'),
        (Waiting((), "serve on host 9"), "for the planner, serve on host 9; see its output"),
    ],
)
def test_plan_says_if_nobody_plans(new_store, monkeypatch, waiting, expected):
    store = new_store(timeout=0.2)
    monkeypatch.setattr(line_of(store), "shard", lambda *asked: waiting)
    assert expected in one_line(store.plan, 0)


def test_a_backend_that_stays_away_stops_the_run_with_a_line_that_names_it(new_store):
    store = new_store(timeout=0.5)
    store.plan(0)
    line_of(store).up.clear()
    store.push([1], [1.0], epoch=0)
    expected = "nearby: does not answer (cut); tried for 0.5 s: see to it and go on with --resume"
    assert expected in one_line(store.plan, 1)
    for call in (store.flush, store.stats, store.reset):
        assert expected in one_line(call)
    time.sleep(1.5)
    assert expected in one_line(store.push, [1], [1.0], epoch=0)  # also if nothing ever waits for it


def test_a_backend_that_takes_nothing_in_is_given_up_when_the_buffer_is_full(new_store, monkeypatch):
    monkeypatch.setattr(sender, "MAX_UNSENT", 16)
    store = new_store(timeout=0.4)
    line_of(store).open.clear()
    assert "the store does not answer; tried for 0.4 s" in one_line(push_all, store, 0)


def test_what_the_sending_thread_meets_is_raised_where_the_training_thread_comes_next(new_store, monkeypatch):
    for error, kind, message in (
        (UsageError("another job took the run's name"), StoreUnavailable, "another job took the run's name"),
        (
            ZeroDivisionError("by nothing"),
            RuntimeError,
            "scores cannot be sent: ZeroDivisionError: by nothing",
        ),
    ):
        store = new_store()

        def send(frames, error=error):
            raise error

        monkeypatch.setattr(line_of(store), "send", send)
        store.push([1], [1.0], epoch=0)
        for call in (store.flush, lambda store=store: store.push([1], [1.0], epoch=0), store.stats):
            with pytest.raises(kind, match=message):
                call()


def test_a_wrong_argument_is_refused_before_anything_is_asked(new_store, backend):
    store = new_store()
    line_of(store).up.clear()  # so nothing could be asked
    for call, message in (
        (lambda: store.plan(6), "epoch=6 is not an epoch of this run"),
        (lambda: store.plan(0, 3, 3), "rank=3 is not an integer"),
        (lambda: store.scores([N]), r"indices\[0\]=500 is outside"),
        (lambda: store.push([1, N], [1.0, 1.0], epoch=0), r"indices\[1\]=500 is outside"),
        (lambda: store.push([1], [float("nan")], epoch=0), r"scores\[0\]=nan"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
    line_of(store).up.set()
    assert (store.stats().seen, store.stats().rejected_pushes) == (0, 2)


# A run as a whole


def test_a_saved_run_is_loaded_with_what_it_had_and_nothing_of_before(new_store, tmp_path):
    store, expected = new_store(), expected_shards(3)
    push_all(store, 0)
    store.plan(1)
    push_all(store, 1)
    store.save(tmp_path / "store.npz")
    push_all(store, 3)  # on its way, or there, when the run is loaded
    store.load(tmp_path / "store.npz")
    np.testing.assert_array_equal(store.scores(np.arange(N)), scores_of(1))
    assert_same(store.plan(1), expected[1])
    assert_same(store.plan(2), expected[2])


def test_a_file_of_another_run_is_refused_and_the_store_stays_as_it_was(new_store, tmp_path):
    other = connect("memory:", "other", N, PruningConfig(epochs=6))
    other.save(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("not a store")
    store = new_store()
    push_all(store, 0)
    with pytest.raises(UsageError, match=r"pruning.ratio=0.5 \(here 0.4\)"):
        store.load(tmp_path / "other.npz")
    with pytest.raises(UsageError, match="text.npz' is not a saved store"):
        store.load(tmp_path / "text.npz")
    with pytest.raises(UsageError, match="cannot be written"):
        store.save(tmp_path / "none" / "store.npz")
    np.testing.assert_array_equal(store.scores(np.arange(N)), scores_of(0))


def test_a_job_that_begins_on_the_run_of_an_old_one_is_told_before_it_trains(new_store, tmp_path):
    old, expected = new_store(), expected_shards(3)
    for epoch in range(2):
        old.plan(epoch)
        push_all(old, epoch)
    old.save(tmp_path / "store.npz")
    new = new_store()
    with pytest.raises(UsageError, match=r"epoch=0 of run 'nearby' is over: the run is at epoch=1"):
        new.plan(0)
    assert_same(new.plan(1), expected[1])  # who comes back while its epoch lasts goes on
    new.reset()
    assert_same(new.plan(0), expected[0])
    new.load(tmp_path / "store.npz")
    assert_same(new.plan(2), expected[2])


def test_a_reset_run_is_as_one_that_has_just_begun(new_store, backend):
    store, expected = new_store(), expected_shards(2)
    store.push([0, 1], [1e9, 1e9], epoch=5)
    store.plan(3)
    store.push([2], [1e9], epoch=5)
    token = backend.service.token
    store.reset()
    assert backend.service.token != token
    stats = store.stats()
    assert (stats.seen, stats.pushes, stats.epoch) == (0, 0, None)
    push_all(store, 0)
    assert_same(store.plan(1), expected[1])


@pytest.mark.parametrize("url", ["memory:"])
def test_the_embedded_store_is_reset_likewise(url):
    store = connect(url, "nearby", N, PRUNING)
    store.push([0, 1], [1e9, 1e9], epoch=5)
    store.plan(3)
    store.reset()
    assert (store.stats().seen, store.stats().epoch) == (0, None)
    push_all(store, 0)
    assert_same(store.plan(1), expected_shards(2)[1])


def test_closing_ends_the_thread_also_while_the_backend_is_away(new_store, monkeypatch):
    monkeypatch.setattr(remote, "CLOSING", 0.1)
    store = new_store(timeout=3600)
    line_of(store).up.clear()
    push_all(store, 0)
    time.sleep(0.3)
    with pytest.warns(
        UserWarning, match=r"close\(\): 500 pushed scores did not reach the store and are lost"
    ):
        store.close()
    store.close()
    assert not store._sender._thread.is_alive()
    for call in (lambda: store.push([1], [1.0], epoch=0), lambda: store.record(0, {"loss": 1.0})):
        with pytest.raises(UsageError, match="this store is closed"):
            call()


def test_recording_waits_for_nobody_and_arrives_once_the_backend_is_back_also_if_it_has_lost_it(
    new_store, backend
):
    store = new_store()
    store.plan(0)
    line_of(store).up.clear()
    for loss in (3.0, 2.0):
        store.record(0, {"loss": loss})  # returns
    line_of(store).up.set()
    store.flush()
    assert [record.training for record in store.history()] == [{"loss": 2.0}]
    backend.restart()  # as of the plan, before anything was recorded
    assert backend.service.engine.history()[0].training == {}
    assert [record.training for record in store.history()] == [{"loss": 2.0}]


def test_one_who_only_looks_sees_the_run_and_cannot_change_it(new_store, backend, monkeypatch):
    store = new_store()
    push_all(store, 0)
    store.flush()
    line = Nearby(backend)
    monkeypatch.setitem(sys.modules, "nearby", SimpleNamespace(attach=lambda url, run, options: line))
    monkeypatch.setitem(BACKENDS, "nearby", "nearby")
    with attach("nearby:", "run", timeout=0.2) as looking:
        backend.restart()  # which is no concern of one who has sent nothing
        store.flush()
        assert looking.stats().seen == N
        np.testing.assert_array_equal(looking.scores([3, 4]), scores_of(0)[[3, 4]])
        np.testing.assert_array_equal(looking.top(1)[0], [scores_of(0).argmax()])
        for call in (
            lambda: looking.push([1], [1.0], epoch=0),
            lambda: looking.plan(0),
            looking.reset,
            lambda: looking.save("x"),
        ):
            with pytest.raises(UsageError, match="this store can only be read"):
                call()
        line.up.clear()
        assert "nearby: does not answer" in one_line(looking.stats)


# The journal


def frame(epoch: int, indices: np.ndarray, sequence: int) -> Frame:
    scores = np.random.default_rng(sequence).random(len(indices), np.float32)
    return Frame(1, sequence, 1, Records(indices.astype(np.uint32), scores, epoch))


def test_the_journal_of_a_rank_that_never_plans_stays_bounded_and_keeps_every_score_that_counts(monkeypatch):
    monkeypatch.setattr(journal_module, "MAX_COUNT", 300)
    journal, chance = Journal(N), np.random.default_rng(0)
    best: dict[int, dict[int, float]] = {}
    for sequence in range(1, 400):
        sent = frame(sequence // 100, chance.integers(0, N, 250), sequence)
        journal.add(sent)
        journal.add(Frame(1, sequence, 0, Figures(sequence // 100, {"sequence": sequence})))
        keep_best(best, sent)
        assert journal._count <= 3 * N + 300
    *kept, first, second, third, fourth = journal.take()
    assert journal.take() == []
    assert [sent.content.values["sequence"] for sent in (first, second, third, fourth)] == [99, 199, 299, 399]
    assert 0 < len(kept) < 12  # of 399 frames
    sequences = [sent.sequence for sent in kept]
    assert sequences == sorted(set(sequences))
    again: dict[int, dict[int, float]] = {}
    for sent in kept:
        keep_best(again, sent)
    assert again == best


def keep_best(best: dict[int, dict[int, float]], sent: Frame) -> None:
    """What a store answers by: the largest score of the two latest epochs of each example."""
    indices, scores, epoch = sent.content
    for index, score in zip(indices.tolist(), scores.tolist(), strict=True):
        of = best.setdefault(index, {})
        of[epoch] = max(of.get(epoch, 0.0), score)
        best[index] = dict(sorted(of.items())[-2:])


def test_a_plan_frees_the_scores_of_earlier_epochs_alone(new_store):
    store = new_store()
    push_all(store, 0)
    store.plan(1)
    assert store._sender._journal._count == 0
    push_all(store, 1)
    store.plan(1)  # the same plan, made before these came
    assert store._sender._journal._count == N
    store.plan(2)
    assert store._sender._journal._count == 0


def test_what_was_cleared_while_it_waited_for_more_is_asked_of_nobody(new_store, backend, monkeypatch):
    """Between rank 0's load and the others' rejoin, the run is no longer the one that a rank had begun."""
    monkeypatch.setattr(sender, "LINGER", 2.0)
    store = new_store()
    store.push([1], [2.0], epoch=0)
    store._buffer.drain()
    time.sleep(0.1)  # the sender's thread has seen it, and waits for more
    store._clear()
    time.sleep(2.3)
    assert backend.received == []
    store.push([1], [3.0], epoch=0)  # and it goes on
    assert store.scores([1]).tolist() == [3.0]
    assert sum(map(len, backend.received)) == 1
