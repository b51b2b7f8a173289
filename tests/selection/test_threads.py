"""Threads of a plan: its bits do not depend on how many there are, and they take what is theirs alone."""

from __future__ import annotations

import os
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

from sadp_dist.selection import RULES, PruningConfig, plan_epoch
from sadp_dist.selection.passes import BLOCK, in_threads, slices, stretches, thread_count, weight_figures

N = 100 * BLOCK + 777
RNG = np.random.default_rng(12)
LABELS = RNG.integers(0, 9, N)
SCORES = RNG.lognormal(size=N).astype(np.float32)
SCORES[RNG.random(N) < 0.1] = np.nan


def have_cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))
    assert thread_count() == count


@pytest.mark.parametrize(
    "draw",
    [{"scheme": "bernoulli"}, {}, {"stratify": "class"}, {"stratify": "class-score", "zero_scores": "paper"}],
)
def test_any_number_of_threads_plans_as_one_does_bit_for_bit(
    draw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PruningConfig(ratio=0.4, min_probability=0.2, seed=3, **draw)
    have_cores(monkeypatch, 1)
    expected = plan_epoch(SCORES, 0, config, LABELS)
    shards = [expected.shard(rank, 3) for rank in range(3)]
    for count in (2, 5):
        have_cores(monkeypatch, count)
        plan = plan_epoch(SCORES, 0, config, LABELS)
        assert (plan.ratio, plan.subset_size, plan.report) == (
            expected.ratio,
            expected.subset_size,
            expected.report,
        )
        assert weight_figures(plan.weights) == weight_figures(expected.weights)
        np.testing.assert_array_equal(plan.indices, expected.indices)
        np.testing.assert_array_equal(plan.weights, expected.weights)
        for rank, shard in enumerate(shards):
            again = plan.shard(rank, 3)
            np.testing.assert_array_equal(again.indices, shard.indices)
            np.testing.assert_array_equal(again.weights, shard.weights)
            assert again.indices.dtype == np.int64


@pytest.mark.parametrize("method", list(RULES))
@pytest.mark.parametrize("seen", ["some", "all", "none"])
def test_every_rule_plans_the_same_with_any_number_of_threads(
    method: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"some": SCORES, "all": np.nan_to_num(SCORES), "none": np.full(N, np.nan, np.float32)}[seen]
    config = PruningConfig(method=method, ratio=0.4, epochs=4, min_probability=0.2, seed=3)
    epoch = config.run_epochs - 1 if config.tracked_epochs else min(1, config.run_epochs - 1)
    plans = []
    for count in (1, 3):
        have_cores(monkeypatch, count)
        plans.append(plan_epoch(scores, epoch, config, LABELS))
    np.testing.assert_array_equal(plans[0].indices, plans[1].indices)
    np.testing.assert_array_equal(plans[0].weights, plans[1].weights)
    assert plans[0].report == plans[1].report


@pytest.mark.parametrize("length", [0, 1, BLOCK, 40 * BLOCK + 5])
def test_slices_and_stretches_cover_everything_once(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 3)
    for found in (slices(length), slices(length, BLOCK), stretches(length), stretches(length, BLOCK)):
        assert (found[0].start, found[-1].stop) == (0, length)
        assert [part.start for part in found[1:]] == [part.stop for part in found[:-1]]
        assert all(part.start % BLOCK == 0 for part in found)
    assert len(stretches(length, BLOCK)) == min(3, max(-(-length // BLOCK), 1))


def test_items_are_shared_by_threads_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 3)
    together = threading.Barrier(3)

    def work(item: int) -> tuple[int, int]:
        together.wait(timeout=60)  # nobody goes on alone
        return item, threading.get_ident()

    items, threads = zip(*in_threads(work, range(9)), strict=True)
    assert items == tuple(range(9))
    assert len(set(threads)) == 3
    assert threading.get_ident() not in threads


def test_one_thread_is_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 1)
    assert in_threads(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3
    have_cores(monkeypatch, 4)
    assert in_threads(lambda _: threading.get_ident(), range(1)) == [threading.get_ident()]


def test_an_error_in_a_thread_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 2)
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 // item, [3, 2, 1, 0, 1, 2])


@pytest.mark.parametrize(
    ("cores", "ranks", "threads"),
    [(6, "2", 3), (6, "1", 6), (2, "8", 1), (64, "1", 8), (4, "0", 4), (4, "x", 4)],
)
def test_the_ranks_of_a_node_share_its_cores(
    cores: int, ranks: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert thread_count() == threads


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("seen", ["all", "some"])
def test_a_plan_and_its_shards_take_at_most_28_bytes_an_example_beside_the_scores(
    seen: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_cores(monkeypatch, count)
    config = PruningConfig(ratio=0.35, min_probability=0.25)
    scores = np.nan_to_num(SCORES) if seen == "all" else SCORES
    plan_epoch(scores, 0, config)  # compiled
    tracemalloc.start()
    try:
        plan = plan_epoch(scores, 0, config)
        shards = [plan.shard(rank, 8) for rank in range(8)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shards) == 8
    assert peak < 28 * N
