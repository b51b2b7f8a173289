"""Sharding: every rank as many, nothing lost, padding weighs nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import shard


@settings(max_examples=200)
@given(st.integers(0, 200), st.integers(1, 17))
@example(0, 4)
@example(1, 4)
@example(3, 17)
@example(9, 8)
def test_shards_are_as_long_as_each_other_and_hold_everything_once(n: int, world_size: int) -> None:
    order = np.random.default_rng(n).permutation(1000)[:n].astype(np.int64)
    weights = 1.0 + np.arange(n)
    shards = [shard(order, weights, rank, world_size) for rank in range(world_size)]
    assert {len(indices) for indices, _ in shards} == {-(-n // world_size)}
    for indices, w in shards:
        assert indices.dtype == np.int64 and w.dtype == np.float64 and len(w) == len(indices)
        assert len(set(indices)) == len(indices), "a rank has the same example twice"
    indices, w = (np.concatenate(parts) for parts in zip(*shards, strict=True))
    assert dict(zip(indices[w > 0], w[w > 0], strict=True)) == dict(zip(order, weights, strict=True))
    assert np.count_nonzero(w) == n
    assert set(indices) <= set(order)


def test_ranks_take_turns_and_the_padding_starts_over() -> None:
    order, weights = np.arange(10, 17), np.full(7, 2.0)
    for rank, expected in enumerate([[10, 13, 16], [11, 14, 10], [12, 15, 11]]):
        indices, w = shard(order, weights, rank, 3)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_array_equal(w, [2, 2, 2 if rank == 0 else 0])


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_is_not_there_is_refused(rank: int, world_size: int) -> None:
    with pytest.raises(UsageError, match=r"(rank|world_size)=-?\d"):
        shard(np.arange(4), np.ones(4), rank, world_size)
