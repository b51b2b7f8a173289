"""Threads of a plan: its bits do not depend on how many there are, and they take what is theirs alone."""

from __future__ import annotations

import os
import threading
import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sadp_dist.selection import PruningConfig, plan_epoch
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import BLOCK, LocalParts
from sadp_dist.selection.plan import plan_parts
from sadp_dist.selection.sharding import join
from sadp_dist.selection.threads import in_threads, thread_count

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
        assert plan.figures() == expected.figures()
        np.testing.assert_array_equal(plan.indices, expected.indices)
        np.testing.assert_array_equal(plan.weights, expected.weights)
        bounds = [0, 30 * BLOCK, 90 * BLOCK, N]
        parts = LocalParts([Part(SCORES[a:b], a, N, LABELS[a:b]) for a, b in pairwise(bounds)])
        drawn = plan_parts(parts, 0, config).drawn
        for rank, shard in enumerate(shards):
            again = plan.shard(rank, 3)
            of_parts = join(parts.each("shard", 0, rank, 3, drawn))
            for indices, weights in ((again.indices, again.weights), of_parts):
                np.testing.assert_array_equal(indices, shard.indices)
                np.testing.assert_array_equal(weights, shard.weights)
                assert indices.dtype == np.int64


def test_items_are_shared_by_threads_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 3)
    together = threading.Barrier(3)

    def work(item: int) -> tuple[int, int]:
        together.wait(timeout=30)  # nobody goes on alone
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
def test_a_plan_and_its_shards_take_at_most_twenty_bytes_an_example_beside_the_scores(
    seen: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_cores(monkeypatch, count)
    config = PruningConfig(ratio=0.35, min_probability=0.25)
    scores = np.nan_to_num(SCORES) if seen == "all" else SCORES
    plan_parts(LocalParts([Part(scores)]), 0, config)  # compiled
    parts = LocalParts([Part(scores)])
    tracemalloc.start()
    try:
        drawn = plan_parts(parts, 0, config).drawn
        shards = [parts.each("shard", 0, rank, 8, drawn) for rank in range(8)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shards) == 8
    assert peak < 20 * N
