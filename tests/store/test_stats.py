"""What a store answers about its scores, checked against the arrays."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, ScoreTable
from sadp_dist.store import connect
from sadp_dist.store.engine.stats import BINS, QUANTILES, score_figures, staleness_figures, top

N = 1000


def table_of(scores) -> ScoreTable:
    table = ScoreTable.empty(len(scores))
    table.merge(np.arange(len(scores)), scores, epoch=0)
    return table


@pytest.fixture
def scores():
    return np.random.default_rng(5).lognormal(size=N).astype(np.float32)


@pytest.fixture
def store(scores):
    store = connect(
        "memory:", "test", N, PruningConfig(ratio=0.5, epochs=9, floor="absolute", min_probability=0.2)
    )
    store.push(np.arange(900), scores[:900], epoch=2)
    store.push(np.arange(100), scores[:100], epoch=4)
    return store


def test_stats_before_anything_has_happened_know_nothing_and_are_json():
    stats = connect("memory:", "test", 7, PruningConfig()).stats().to_dict()
    assert json.loads(json.dumps(stats, allow_nan=False)) == stats
    assert (stats["seen"], stats["unseen"], stats["epoch"], stats["score_quantiles"]) == (0, 7, None, None)
    assert stats["score_histogram"] == {"zeros": 0, "edges": [], "counts": []}


@pytest.mark.parametrize(("method", "floor"), [("sadp", 0.2), ("infobatch", None), ("full", None)])
def test_the_floor_is_sadps_alone(method, floor):
    pruning = PruningConfig(method=method, floor="absolute", min_probability=0.2, epochs=8)
    store = connect("memory:", f"floor of {method}".replace(" ", "-"), 10, pruning)
    store.plan(1)
    assert store.stats().floor == floor


def test_stats_agree_with_the_arrays(store, scores):
    shard = store.plan(5)
    stats = store.stats()
    w = shard.weights
    assert (stats.run, stats.dataset_size, stats.method) == ("test", N, "sadp")
    assert (stats.seen, stats.unseen) == (900, 100)
    assert (stats.epoch, stats.ratio, stats.subset_size, stats.drawn) == (5, 0.5, 500, len(w))
    assert (stats.floor, stats.floor_in_force) == (0.2, False)
    assert stats.gamma > 0
    assert stats.largest_weight == w.max()
    assert stats.largest_weight == pytest.approx(500 / N / 0.2, rel=0.1)  # an example near the floor
    assert stats.effective_sample_size == pytest.approx(w.sum() ** 2 / (w**2).sum())
    seen = np.sort(scores[:900])
    for share in QUANTILES:
        assert stats.score_quantiles[f"{share:g}"] == seen[max(int(np.ceil(share * 900)), 1) - 1]
    assert stats.staleness_mean == pytest.approx((100 * 1 + 800 * 3) / 900)
    assert (stats.staleness_quantiles["0"], stats.staleness_quantiles["0.5"]) == (1, 3)
    assert (stats.pushes, stats.pushed_scores, stats.rejected_pushes) == (2, 1000, 0)
    assert N * 8 < stats.memory_bytes < N * 40
    figures = stats.to_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@settings(max_examples=200)
@given(st.lists(st.floats(0, width=32, allow_infinity=False), max_size=30))
def test_the_histogram_holds_every_score_once_between_bounds_that_grow(values):
    scores = np.array(values, np.float32)
    found = score_figures(table_of(scores).scores)[1]
    assert found.zeros + sum(found.counts) == len(scores)
    assert list(found.edges) == sorted(found.edges)
    positive = scores[scores > 0]
    if len(positive):
        assert (found.edges[0], found.edges[-1]) == (positive.min(), positive.max())
        assert len(found.edges) == len(found.counts) + 1
        json.dumps(found.edges, allow_nan=False)


def sorted_quantiles(values: np.ndarray) -> dict[str, float]:
    ordered = np.sort(values)
    places = {share: max(math.ceil(share * len(ordered)), 1) - 1 for share in QUANTILES}
    return {f"{share:g}": float(ordered[place]) for share, place in places.items()}


def sorted_histogram(scores: np.ndarray) -> tuple[int, list[float], list[int]]:
    positive = np.sort(scores[scores > 0].astype(np.float64))
    edges = np.geomspace(positive[0], positive[-1], BINS + 1)
    below = np.searchsorted(positive, edges)
    below[-1] = len(positive)
    return len(scores) - len(positive), edges.tolist(), np.diff(below).tolist()


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.lognormal(sigma=2, size=n),
        lambda rng, n: rng.integers(0, 4, n) / 3,
        lambda rng, n: 1 + rng.random(n) * 1e-5,
        lambda rng, n: 10.0 ** rng.uniform(-45, 38, n),
        lambda rng, n: np.r_[np.zeros(n - 3), 1e-45, 1, 3e38],
    ],
    ids=["lognormal", "ties", "narrow", "all of float32's range", "zeros"],
)
def test_counting_finds_what_sorting_finds(draw):
    n = 50_011
    rng = np.random.default_rng(4)
    scores = draw(rng, n).astype(np.float32)
    seen = rng.random(n) < 0.9
    seen[-3:] = True
    table = ScoreTable.empty(n)
    table.merge(np.flatnonzero(seen), scores[seen], epoch=0)
    found_quantiles, found_histogram = score_figures(table.scores)
    assert found_quantiles == sorted_quantiles(scores[seen])
    zeros, edges, counts = sorted_histogram(scores[seen])
    assert (found_histogram.zeros, list(found_histogram.edges)) == (zeros, edges)
    assert list(found_histogram.counts) == counts


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("k", [0, 1, 50, 4_000, 49_000, 10**12])
@pytest.mark.parametrize("ties", [0, 2, 6])
def test_top_of_many_is_the_sorted_order(k, lowest, ties):
    scores = np.random.default_rng(1).lognormal(size=50_000).round(6 - ties).astype(np.float32)
    scores[::9] = np.nan
    seen = np.flatnonzero(~np.isnan(scores))
    table = ScoreTable.empty(50_000)
    table.merge(seen, scores[seen], epoch=0)
    expected = seen[np.argsort(scores[seen] if lowest else -scores[seen], kind="stable")[:k]]
    indices, values = top(table, k, lowest)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, scores[expected])


@settings(max_examples=100)
@given(
    st.lists(st.one_of(st.integers(-1, 12), st.integers(0, 5000), st.just(2**31 - 1)), max_size=40),
    st.one_of(st.none(), st.integers(0, 6000)),
)
def test_staleness_is_that_of_every_scored_example(epochs, planned):
    scored = np.array([epoch for epoch in epochs if epoch >= 0], np.int64)
    mean, found = staleness_figures(np.array(epochs, np.int32), planned)
    if len(scored) == 0:
        assert (mean, found) == (None, None)
    else:
        staleness = max(scored.max(), planned or 0) - scored
        assert mean == pytest.approx(staleness.mean(), rel=1e-12)
        assert found == sorted_quantiles(staleness)


def test_stats_of_the_widest_scores_and_epochs_are_finite():
    store = connect("memory:", "test", 4, PruningConfig(epochs=2**31 - 1))
    largest, smallest = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    store.push([0, 1, 2], np.array([largest, smallest, 0.0], np.float32), epoch=0)
    store.push([3], [largest], epoch=2**31 - 2)
    store.plan(1)
    figures = store.stats().to_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@settings(max_examples=150)
@given(
    st.dictionaries(st.integers(0, 19), st.sampled_from([0.0, 1.0, 1.5, 2.0]), max_size=20),
    st.integers(0, 25),
    st.booleans(),
)
def test_top_is_the_sorted_order_with_ties_by_index(pushed, k, lowest):
    store = connect("memory:", "test", 20, PruningConfig())
    store.push(list(pushed), list(pushed.values()), epoch=0)
    expected = sorted(pushed, key=lambda index: (pushed[index] if lowest else -pushed[index], index))[:k]
    indices, scores = store.top(k, lowest=lowest)
    assert indices.tolist() == expected
    assert scores.tolist() == [pushed[index] for index in expected]
    assert (indices.dtype, scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("k", [-1, 1.5, True])
def test_top_of_no_number_is_refused(store, k):
    with pytest.raises(UsageError, match=r"k=.* is not a number of examples"):
        store.top(k)


def test_scores_of_unseen_examples_are_nan_and_others_do_not_exist(store, scores):
    np.testing.assert_array_equal(store.scores([3, 999]), np.array([scores[3], np.nan], np.float32))
    with pytest.raises(UsageError, match=r"indices\[1\]=1000 is outside the data set's 0\.\.999"):
        store.scores([0, N])
