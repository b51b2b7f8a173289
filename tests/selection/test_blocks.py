"""Dealing out by blocks: the same subset and weights, runs as long as each other, few ranks to a block."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, plan_epoch
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import BLOCK, LocalParts
from sadp_dist.selection.plan import plan_parts
from sadp_dist.selection.sharding import join

sizes = st.integers(0, 400)
ranks = st.integers(1, 9)
blocks = st.integers(1, 120)


def planned(n: int, block: int | None, ratio: float = 0.4, epoch: int = 0):
    scores = np.random.default_rng(n).lognormal(size=n)
    return plan_epoch(scores, epoch, PruningConfig(ratio=ratio, epochs=3, seed=5, shard_block=block))


@settings(max_examples=200, deadline=None)
@given(sizes, blocks, ranks, st.floats(0, 1))
def test_ranks_have_runs_of_one_order_of_blocks_and_together_what_was_drawn(
    n: int, block: int, world_size: int, ratio: float
) -> None:
    plan, usual = planned(n, block, ratio), planned(n, None, ratio)
    drawn = dict(zip(plan.indices, plan.weights, strict=True))
    assert drawn == dict(zip(usual.indices, usual.weights, strict=True))
    order = plan.indices // block
    assert len(set(order)) == 1 + np.count_nonzero(np.diff(order)) if n and len(order) else len(order) == 0
    shards = [plan.shard(rank, world_size) for rank in range(world_size)]
    assert {len(shard.indices) for shard in shards} == {-(-len(plan.indices) // world_size)}
    begin = 0
    for shard in shards:
        own = shard.weights > 0
        assert own[: own.sum()].all(), "a fill is not at the end"
        assert len(set(shard.indices)) == len(shard.indices), "a rank has the same example twice"
        run = plan.indices[begin : begin + own.sum()]
        assert sorted(shard.indices[own]) == sorted(run)
        assert all(drawn[i] == w for i, w in zip(shard.indices[own], shard.weights[own], strict=True))
        if not own.all():  # it lies beside what the rank has
            assert shard.indices[-1] == plan.indices[begin - 1]
        begin += own.sum()
    assert begin == len(plan.indices)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 3), max_size=3, unique=True).map(sorted),
    st.sampled_from([1, 7, 1000, BLOCK, 3 * BLOCK, 10 * BLOCK]),
    ranks,
)
def test_any_number_of_parts_deals_out_as_one_does(ends: list[int], block: int, world_size: int) -> None:
    n = 3 * BLOCK + 777
    scores = np.random.default_rng(2).lognormal(size=n)
    config = PruningConfig(ratio=0.9, epochs=2, seed=5, shard_block=block)
    bounds = [0, *(end * BLOCK for end in ends), n]
    parts = LocalParts([Part(scores[begin:end], begin, n) for begin, end in pairwise(bounds)])
    figures, whole = plan_parts(parts, 1, config), plan_epoch(scores, 1, config)
    for rank in range(world_size):
        pieces = parts.each("shard", 1, rank, world_size, figures.drawn, config.run_key(1))
        indices, weights = join(pieces)
        np.testing.assert_array_equal(indices, whole.shard(rank, world_size).indices)
        np.testing.assert_array_equal(weights, whole.shard(rank, world_size).weights)


def test_an_epoch_has_other_blocks_in_a_run_and_another_order_than_the_last() -> None:
    first, second = (planned(5000, 100, epoch=epoch).shard(0, 4).indices // 100 for epoch in (0, 1))
    assert len(set(first)) < 15 and set(first) != set(second)
    inside = np.corrcoef(first, np.arange(len(first)))[0, 1]
    assert abs(inside) < 0.15, "a run is not in random order"


@pytest.mark.parametrize("block", [0, -3, 2.5, True, "all"])
def test_a_block_that_is_no_number_of_examples_is_refused(block: object) -> None:
    with pytest.raises(
        UsageError, match=r"^shard_block=.* is not a number of examples: an integer, at least 1$"
    ):
        PruningConfig(shard_block=block)
