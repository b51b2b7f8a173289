"""What a store keeps for those who watch: epochs, what was recorded of them, classes, changes of scores."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.selection.table import ScoreTable
from sadp_dist.store import ClassFigures, Store, connect, open_snapshot
from sadp_dist.store.engine.classes import MAX_CLASSES
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.frames import Frame, encode
from sadp_dist.store.engine.run import MAX_FIGURES, Figures, Records, Run
from sadp_dist.store.engine.service import Service

N, EPOCHS = 300, 6
PRUNING = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=EPOCHS, min_probability=0.1, seed=7)
LABELS = np.arange(N) % 4


def new_store(labels=LABELS) -> Store:
    return connect("memory:", "test", N, PRUNING, labels)


def train(store: Store, epochs: range) -> None:
    for epoch in epochs:
        shard = store.plan(epoch)
        scores = np.random.default_rng(epoch).lognormal(size=N)
        store.push(shard.indices, scores[shard.indices], epoch)
        store.record(epoch, {"loss": 1 / (epoch + 1), "test_accuracy": epoch / 10})


def test_an_epoch_is_kept_as_the_store_was_when_it_was_planned():
    store, expected = new_store(), []
    for epoch in range(3):
        shard = store.plan(epoch)
        stats = store.stats()  # nothing has come since
        expected.append(stats)
        assert store.history()[-1].largest_weight == shard.weights.max()
        store.push(shard.indices, np.random.default_rng(epoch).lognormal(size=len(shard.indices)), epoch)
    history = store.history()
    assert [record.epoch for record in history] == [0, 1, 2]
    for record, stats in zip(history, expected, strict=True):
        same = ("ratio", "subset_size", "drawn", "gamma", "capped", "effective_sample_size", "seen")
        for name in (*same, "score_quantiles", "staleness_mean"):
            assert getattr(record, name) == getattr(stats, name), name
        assert record.score_histogram == stats.to_dict()["score_histogram"]
    assert history[0].score_quantiles is None and history[2].score_quantiles is not None


def test_a_history_is_json():
    store = new_store()
    train(store, range(2))
    plain = [record.to_dict() for record in store.history()]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    classes = store.classes().to_dict()
    assert json.loads(json.dumps(classes, allow_nan=False)) == classes


def test_what_is_recorded_of_an_epoch_replaces_what_was_and_may_come_before_its_plan():
    store = new_store()
    store.record(1, {"loss": 5.0})
    assert store.history() == []
    store.plan(0)
    store.plan(1)
    assert [record.training for record in store.history()] == [{}, {"loss": 5.0}]
    store.record(np.int64(0), {"loss": np.float32(0.5), "train/accuracy": 1})
    store.record(1, {"test_accuracy": 0.25})
    assert [record.training for record in store.history()] == [
        {"loss": 0.5, "train/accuracy": 1.0},
        {"test_accuracy": 0.25},
    ]
    assert json.dumps([record.to_dict() for record in store.history()])


@pytest.mark.parametrize(
    ("epoch", "figures", "message"),
    [
        (EPOCHS, {"loss": 1.0}, "epoch=6 is not an epoch of this run"),
        (-1, {"loss": 1.0}, "epoch=-1 is not an epoch"),
        (0, {"": 1.0}, "figures have the name ''"),
        (0, {"1st": 1.0}, "figures have the name '1st': a letter, then"),
        (0, {"<b>": 1.0}, "figures have the name '<b>'"),
        (0, {"a" * 49: 1.0}, "48 in all at most"),
        (0, {7: 1.0}, "figures have the name 7"),
        (0, {"loss": float("nan")}, r"figures\['loss'\]=nan is not a finite number"),
        (0, {"loss": 10**400}, r"figures\['loss'\]=10+ is not a finite number"),
        (0, {"loss": None}, r"figures\['loss'\]=None is not"),
        (0, {"loss": True}, r"figures\['loss'\]=True is not"),
        (0, {"loss": "low"}, r"figures\['loss'\]='low' is not"),
        (0, {f"f{number}": 1.0 for number in range(MAX_FIGURES + 1)}, "figures are 65: 64 an epoch"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line_and_nothing_of_it_is_kept(epoch, figures, message):
    store = new_store()
    store.plan(0)
    store.record(0, {"loss": 2.0})
    with pytest.raises(UsageError, match=message) as refusal:
        store.record(epoch, figures)
    assert "\n" not in str(refusal.value)
    assert store.history()[0].training == {"loss": 2.0}


def test_a_saved_store_goes_on_with_the_history_and_may_be_asked_for_it(tmp_path):
    store, path = new_store(), tmp_path / "store.npz"
    train(store, range(3))
    store.record(4, {"loss": 9.0})  # of an epoch yet to come
    store.save(path)
    opened, loaded = open_snapshot(path), new_store()
    train(loaded, range(5))  # forgotten
    loaded.load(path)
    for other in (opened, loaded):
        assert other.history() == store.history()
        assert other.classes() == store.classes()
        np.testing.assert_array_equal(other.top(N, by="change"), store.top(N, by="change"))
    with pytest.raises(UsageError, match=r"record\(\): this store can only be read"):
        opened.record(0, {"loss": 1.0})
    for each in (store, loaded):
        train(each, range(3, 5))
    assert loaded.history() == store.history() and len(store.history()) == 5
    np.testing.assert_array_equal(loaded.top(N, by="change"), store.top(N, by="change"))


def test_a_file_from_before_there_was_a_history_is_read(tmp_path):
    store, path = new_store(), tmp_path / "store.npz"
    train(store, range(3))
    store.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    del arrays["history"], arrays["scores_before"]
    np.savez(path, **arrays)
    loaded = new_store()
    loaded.load(path)
    assert loaded.history() == []
    assert len(loaded.top(N, by="change")[0]) == 0
    of_history = {"noise_ratio": None, "rank_correlation": None}
    assert loaded.stats() == replace(store.stats(), **of_history)
    train(loaded, range(3, 5))
    assert [record.epoch for record in loaded.history()] == [3, 4]
    assert len(loaded.top(N, by="change")[0]) > 0


def test_a_run_that_begins_anew_has_no_history():
    store = new_store()
    train(store, range(2))
    store.reset()
    assert store.history() == []
    assert store.classes().epoch is None


def test_classes_are_counted_as_the_arrays_say():
    n = 50_017
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 11, n).astype(np.int32)
    labels[labels == 9] = 10  # a class without examples
    scores = chance.lognormal(size=n).astype(np.float32)
    seen = np.flatnonzero((chance.random(n) < 0.7) & (labels != 5))  # and one without scores
    engine = Engine(Run("test", n, PRUNING, labels))
    engine.apply(Records(seen, scores[seen], 0))
    assert engine.classes().drawn == [0] * 11 and engine.classes().epoch is None
    drawn = engine.shard(1, 0, 1).indices
    means = {c: scores[seen][labels[seen] == c].mean(dtype=float) for c in range(11) if c not in (5, 9)}
    found = engine.classes()
    assert found.epoch == 1
    assert found.examples == np.bincount(labels, minlength=11).tolist()
    assert found.drawn == np.bincount(labels[drawn], minlength=11).tolist()
    assert [found.score_mean[c] for c in (5, 9)] == [None, None]
    assert [found.score_mean[c] for c in means] == pytest.approx(list(means.values()), rel=1e-6)


def test_there_are_no_classes_without_labels_or_with_too_many():
    assert new_store(labels=None).classes() is None
    assert new_store(labels=LABELS * MAX_CLASSES).classes() is None
    assert new_store(labels=np.zeros(N, int)).classes() == ClassFigures(None, [N], [0], [None])


# Changes

pushes = st.lists(  # of epochs that begin one after the other
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(st.integers(0, 9), st.floats(0, width=32, allow_infinity=False)), max_size=8),
    ),
    max_size=12,
)


@settings(max_examples=200)
@given(st.data(), pushes)
def test_a_change_is_the_score_of_the_latest_epoch_less_that_of_the_one_scored_before(data, sequence):
    by_epoch: dict[int, list] = {}
    epoch = 0
    for later, rows in sequence:
        epoch += later
        by_epoch.setdefault(epoch, []).append(rows)
    scored: dict[int, dict[int, float]] = {}
    table = ScoreTable.empty(10)
    for epoch, batches in by_epoch.items():
        repeats = data.draw(st.lists(st.sampled_from(batches), max_size=3))
        for rows in data.draw(st.permutations(batches + repeats)):
            indices = np.array([index for index, _ in rows], np.int64)
            table.merge(indices, np.array([score for _, score in rows], np.float32), epoch)
            for index, score in rows:
                of = scored.setdefault(index, {})
                of[epoch] = max(of.get(epoch, 0.0), score)
    expected = np.full(10, np.nan, np.float32)
    for index, of in scored.items():
        if len(of) > 1:
            *_, before, latest = (of[epoch] for epoch in sorted(of))
            expected[index] = np.float32(latest) - np.float32(before)
    np.testing.assert_array_equal(table.scores - table.scores_before, expected)


def test_what_comes_of_an_epoch_that_is_over_changes_nothing():
    store = new_store()
    for epoch, score in ((1, 5.0), (3, 2.0), (2, 9.0), (1, 7.0)):
        store.push([4], [score], epoch)
    assert [value.tolist() for value in store.top(5, by="change")] == [[4], [-3.0]]


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.integers(0, 19), st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0]), min_size=1, max_size=3)
    ),
    st.integers(0, 25),
    st.booleans(),
)
def test_top_by_change_is_ordered_by_size_and_has_the_sign(pushed, k, lowest):
    engine = Engine(Run("test", 20, PRUNING))
    for index, scores in pushed.items():
        for epoch, score in enumerate(scores):
            engine.apply(Records(np.array([index]), np.array([score], np.float32), epoch))
    changes = {index: scores[-1] - scores[-2] for index, scores in pushed.items() if len(scores) > 1}
    expected = sorted(changes, key=lambda i: (abs(changes[i]) if lowest else -abs(changes[i]), i))[:k]
    indices, values = engine.top(k, lowest, by="change")
    assert indices.tolist() == expected
    assert values.tolist() == [changes[index] for index in expected]
    assert (indices.dtype, values.dtype) == (np.int64, np.float32)


def test_an_order_that_is_not_known_is_refused():
    with pytest.raises(UsageError, match='by=\'changes\' is not known; use one of "score", "change"'):
        new_store().top(3, by="changes")


# Over the wire


def test_figures_that_come_over_the_wire_are_kept_if_the_run_has_their_epoch():
    service = Service(Engine(Run("test", N, PRUNING)), 5)
    service.ask(0, 0, 1)
    for epoch in (0, EPOCHS - 1, EPOCHS, 2**31 - 1):
        service.receive(encode(Frame(1, 1, 0, Figures(epoch, {"loss": 1.5})), 5, N))
    assert [record.training for record in service.engine.history()] == [{"loss": 1.5}]
    stats = service.answer("stats", {})
    assert (stats.bad_frames, stats.pushes) == ({"values": 2}, 0)
    assert Service.from_snapshot(service.snapshot()).engine.history() == service.engine.history()


def test_figures_that_come_late_or_again_do_not_make_scores_count_twice():
    service = Service(Engine(Run("test", N, PRUNING)), 5)
    scores = encode(Frame(1, 2, 1, Records(np.array([3]), np.ones(1, np.float32), 0)), 5, N)
    figures = encode(Frame(1, 1, 0, Figures(0, {"loss": 1.0})), 5, N)
    for data in (scores, figures, scores, figures):
        service.receive(data)
    service.ask(0, 0, 1)
    assert service.engine.history()[0].training == {"loss": 1.0}
    assert service.answer("stats", {}).pushes == 1


def test_a_store_knows_for_which_epoch_each_rank_of_the_present_job_has_asked():
    service = Service(Engine(Run("test", N, PRUNING)), 5)
    assert service.answer("stats", {}).rank_epochs == []
    service.ask(0, 1, 3)
    assert service.answer("stats", {}).rank_epochs == [-1, 0, -1]
    for rank in (0, 2):
        service.ask(0, rank, 3)
    service.ask(1, 0, 3)
    assert service.answer("stats", {}).rank_epochs == [1, 0, 0]
    resumed = Service.from_snapshot(service.snapshot())
    assert resumed.answer("stats", {}).rank_epochs == [1, 0, 0]
    service.ask(1, 1, 2)  # the job goes on with two
    assert service.answer("stats", {}).rank_epochs == [-1, 1]
    older = {key: value for key, value in service.state().items() if key != "rank_epochs"}
    assert Service.resume(Engine(Run("test", N, PRUNING)), older).answer("stats", {}).rank_epochs == []


def test_a_history_as_long_as_training_lasts_is_written_at_once():
    """Of a thousand epochs; each is put into words once."""
    engine = Engine(Run("test", N, PRUNING.replace(epochs=1000)))
    for epoch in range(1000):
        engine.plan(epoch)
        engine.record(Figures(epoch, {f"figure{number}": epoch / 7 for number in range(10)}))
        first = engine.snapshot().history.lines()
    again = engine.snapshot().history
    assert again.lines().tobytes() == first.tobytes()
    assert len(again.records()) == 1000
