"""Dealing out by blocks: the same subset and weights, runs as long as each other, few ranks to a block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, plan_epoch

sizes = st.integers(0, 400)
ranks = st.integers(1, 9)
blocks = st.integers(1, 120)


def planned(n: int, block: int | None, ratio: float = 0.4, epoch: int = 0):
    scores = np.random.default_rng(n).lognormal(size=n)
    return plan_epoch(scores, epoch, PruningConfig(ratio=ratio, epochs=3, seed=5, shard_block=block))


@settings(max_examples=200)
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
        assert own[: own.sum()].all(), "padding is not at the end"
        assert len(set(shard.indices)) == len(shard.indices), "a rank has the same example twice"
        run = plan.indices[begin : begin + own.sum()]
        assert sorted(shard.indices[own]) == sorted(run)
        assert all(drawn[i] == w for i, w in zip(shard.indices[own], shard.weights[own], strict=True))
        if not own.all():  # it lies beside what the rank has
            assert shard.indices[-1] == plan.indices[begin - 1]
        begin += own.sum()
    assert begin == len(plan.indices)


def test_an_epoch_has_other_blocks_in_a_run_and_another_order_than_the_last() -> None:
    first, second = (planned(5000, 100, epoch=epoch).shard(0, 4).indices // 100 for epoch in (0, 1))
    assert len(set(first)) < 15 and set(first) != set(second)
    inside = np.corrcoef(first, np.arange(len(first)))[0, 1]
    assert abs(inside) < 0.15, "a run is not in random order"


@pytest.mark.parametrize("block", [0, -3, 2.5, True, "all"])
def test_a_block_that_is_no_number_of_examples_is_refused(block: object) -> None:
    with pytest.raises(UsageError, match=r"^shard_block=.* is not an integer of at least 1 or null$"):
        PruningConfig(shard_block=block)
