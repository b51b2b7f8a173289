"""An epoch's plan: made once, the same for every rank and world size, also where there is little to plan."""

import warnings

import numpy as np
import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.selection import RULES, PruningConfig, plan_epoch
from sadp_dist.store import Store, connect
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run

PAPER = {"schedule": "paper", "floor": "absolute"}


def scored_store(dataset_size: int = 100, **pruning) -> Store:
    labels = np.arange(dataset_size) % 3
    store = connect("memory:", "test", dataset_size, PruningConfig(**{"epochs": 4, **pruning}), labels=labels)
    store.push(np.arange(dataset_size), np.random.default_rng(1).lognormal(size=dataset_size), epoch=0)
    return store


def by_example(shards) -> list[tuple[int, float]]:
    rows = [
        row for shard in shards for row in zip(shard.indices.tolist(), shard.weights.tolist(), strict=True)
    ]
    return sorted(row for row in rows if row[1] > 0)


@pytest.mark.parametrize("scheme", ["systematic", "bernoulli"])
@pytest.mark.parametrize("method", ["sadp", "random", "full"])
def test_every_world_size_gets_the_same_examples_and_weights(method, scheme):
    store = scored_store(method=method, scheme=scheme, min_probability=0.2)
    whole = by_example([store.plan(1)])
    assert len({index for index, _ in whole}) == len(whole) > 0
    for world_size in (1, 2, 3, 4, 7):
        shards = [store.plan(1, rank, world_size) for rank in range(world_size)]
        assert by_example(shards) == whole
        assert len({len(shard.indices) for shard in shards}) == 1


def test_the_plan_is_the_selections_own_for_the_scores_pushed():
    store = scored_store(stratify="class", seed=3)
    store.push([7], [50.0], epoch=1)
    config = PruningConfig(epochs=4, stratify="class", seed=3)
    expected = plan_epoch(store.scores(np.arange(100)), 2, config, np.arange(100) % 3)
    shard = store.plan(2)
    np.testing.assert_array_equal(shard.indices, expected.indices)
    np.testing.assert_array_equal(shard.weights, expected.weights)
    assert (shard.subset_size, shard.dataset_size, shard.ratio, shard.epoch) == (50, 100, 0.5, 2)


def test_scores_that_come_after_the_first_rank_has_asked_change_the_next_epoch_only():
    store, undisturbed = scored_store(), scored_store()
    shards = [store.plan(1, 0, 2)]
    store.push(np.arange(100), np.random.default_rng(2).lognormal(size=100), epoch=1)
    shards.append(store.plan(1, 1, 2))
    assert by_example(shards) == by_example([undisturbed.plan(1)])
    assert by_example([store.plan(2)]) != by_example([undisturbed.plan(2)])


def test_an_epoch_that_is_over_is_refused_as_by_a_store_that_outlives_its_jobs(tmp_path):
    store = scored_store()
    first = by_example([store.plan(1)])
    store.save(tmp_path / "x.npz")
    store.plan(2)
    with pytest.raises(UsageError, match=r"epoch=1 of run .* is over: the run is at epoch=2"):
        store.plan(1)
    store.load(tmp_path / "x.npz")
    assert by_example([store.plan(1)]) == first


def test_nothing_needs_to_be_scored_before_the_first_epoch():
    store = connect("memory:", "test", 10, PruningConfig(ratio=0.5))
    shard = store.plan(0)
    assert len(shard.indices) == 5
    np.testing.assert_allclose(shard.weights, 1)


def test_a_floor_above_the_share_of_an_epoch_is_told_once_a_run():
    store = scored_store(ratio=0.6, max_ratio=0.8, **PAPER, epochs=5, min_probability=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.plan(0)
    assert store.stats().floor_in_force is False
    with pytest.warns(UserWarning) as told:
        for epoch in (2, 2, 3, 4):
            shard = store.plan(epoch)
            np.testing.assert_allclose(shard.weights, 1)
            assert store.stats().floor_in_force is True
    assert [str(warning.message) for warning in told] == [
        "epoch 3 of 5: min_probability=0.4 is above S/N=0.36, so every example has the same probability; "
        "lower min_probability to keep choosing"
    ]


@pytest.mark.filterwarnings("ignore:a pruning ratio of 1")
def test_an_empty_epoch_gives_every_rank_an_empty_shard():
    store = scored_store(ratio=0.6, max_ratio=1.0, **PAPER)
    for rank in range(3):
        shard = store.plan(3, rank, 3)
        assert len(shard.indices) == len(shard.weights) == shard.subset_size == 0
    assert store.stats().to_dict()["effective_sample_size"] == 0


def test_one_example_and_four_ranks():
    store = scored_store(dataset_size=1, ratio=0.0)
    shards = [store.plan(0, rank, 4) for rank in range(4)]
    assert [shard.indices.tolist() for shard in shards] == [[0]] * 4
    assert [shard.weights.tolist() for shard in shards] == [[1.0], [0.0], [0.0], [0.0]]


def test_a_subset_smaller_than_the_world_fills_up_with_weight_zero():
    store = scored_store(dataset_size=6, ratio=0.5)
    shards = [store.plan(0, rank, 8) for rank in range(8)]
    assert {len(shard.indices) for shard in shards} == {1}
    assert sum(float(shard.weights[0]) > 0 for shard in shards) == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epoch": 4}, r"epoch=4 is not an epoch of this run: 0\.\.3 \(pruning.epochs=4\)"),
        ({"epoch": -1}, "epoch=-1 is not an epoch"),
        ({"epoch": 1.0}, "epoch=1.0 is not an epoch"),
        ({"epoch": 0, "rank": 2, "world_size": 2}, r"rank=2 is not an integer in 0\.\.1"),
        ({"epoch": 0, "rank": -1, "world_size": 2}, "rank=-1 is not"),
        ({"epoch": 0, "rank": 0, "world_size": 0}, r"world_size=0 is not an integer in 1\.\.65536"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as refusal:
        scored_store().plan(**arguments)
    assert "\n" not in str(refusal.value)


def test_a_store_connected_before_the_job_began_is_not_planned_from(monkeypatch):
    store = scored_store()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(UsageError, match=r"connected before init_process_group\(\): connect after it"):
        store.plan(1, 0, 2)


def test_what_numpy_calls_numbers_is_one_run_with_what_python_does(tmp_path):
    plain = PruningConfig(ratio=0.5, max_ratio=0.75, epochs=4, min_probability=0.25, seed=3, shard_block=5)
    numpy = PruningConfig(
        ratio=np.float32(0.5),
        max_ratio=np.float64(0.75),
        epochs=np.int32(4),
        min_probability=np.float16(0.25),
        seed=np.uint64(3),
        shard_block=np.int16(5),
    )
    assert numpy == plain
    connect("memory:", "numpy", np.int64(10), numpy).save(tmp_path / "store.npz")
    connect("memory:", "plain", 10, plain).load(tmp_path / "store.npz")
    kinds = (int, float, str, type(None))
    assert all(type(value) in kinds for value in numpy.to_dict().values())


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"url": "memory"}, "url='memory' is not a store: it has to start with \"memory:\""),
        ({"url": "ftp://host"}, "url='ftp://host' is not a store"),
        ({"url": "memory:here"}, "the embedded store has no address"),
        ({"run": ""}, "run='' is not a name"),
        ({"dataset_size": 0}, "dataset_size=0 is not an integer of 1 or more"),
        ({"dataset_size": 10.0}, r"dataset_size=10\.0 is not"),
        ({"pruning": {"ratio": 0.5}}, "is not a PruningConfig"),
        ({"labels": [0, 1]}, r"labels have shape \(2,\): \(10,\) is needed"),
        ({"labels": np.zeros(10)}, "labels have dtype float64: integers"),
        ({"labels": -np.arange(10)}, "labels go from -9 to 0"),
        ({"pruning": PruningConfig(stratify="class")}, 'labels are needed for stratify="class"'),
        ({"run": "a\ud800"}, r"run='a\\ud800' is not a name: it has a character that is not Unicode's"),
        ({"timeout": "x"}, "timeout='x' is not a number above 0"),
        ({"timeout": None}, "timeout=None is not a number"),
        ({"snapshot": 3}, "snapshot=3 is not a string or null"),
        ({"patience": 3}, "unknown key 'patience'; known keys: planner"),
    ],
)
def test_connecting_with_a_wrong_argument_names_it(changed, message):
    arguments = {"url": "memory:", "run": "test", "dataset_size": 10, "pruning": PruningConfig(), **changed}
    with pytest.raises(UsageError, match=message):
        connect(**arguments)


def test_a_plan_that_cannot_be_made_leaves_the_one_before(monkeypatch):
    engine = Engine(Run("test", 100, PruningConfig(epochs=9)))
    engine.plan(0)
    engine.plan(1)
    shard = engine.shard(1, 0, 2)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(RULES["sadp"], "probabilities", lambda *_: 1 // 0)
        engine.plan(2)
    np.testing.assert_array_equal(engine.shard(1, 0, 2).indices, shard.indices)
    engine.plan(2)
    assert [engine.has_plan(epoch) for epoch in range(3)] == [False, True, True]


def test_two_plans_kept_take_twelve_bytes_a_drawn_example_each():
    N = 10_000
    engine = Engine(Run("test", N, PruningConfig(ratio=0.4, epochs=9)))
    without = engine.stats().memory_bytes
    for epoch in range(4):
        engine.plan(epoch)
    assert engine.stats().memory_bytes - without == 2 * 12 * 6_000
