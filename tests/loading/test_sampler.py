"""A sampler gives each rank its shard of the epoch, whole or from a batch on."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

import sadp_dist
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler, SequentialShard
from sadp_dist.selection.plan import Shard


class FixedPlan:
    """Stands for a store whose plan is known."""

    def __init__(self, indices: list[int], weights: list[float]) -> None:
        self._indices, self._weights = np.array(indices, dtype=np.int64), np.array(weights)

    def same_on_ranks(self, call: str, name: str, value: int) -> None: ...

    def pushed(self, epoch: int, indices: np.ndarray, world_size: int) -> int:
        return len(indices)

    def plan(self, epoch: int, rank: int, world_size: int) -> Shard:
        size = len(self._indices)
        return Shard(
            self._indices,
            self._weights,
            subset_size=size,
            dataset_size=10,
            ratio=0.5,
            epoch=epoch,
            drawn=size,
        )


def test_the_sampler_gives_the_plan_of_the_epoch_in_its_order(store, sampler):
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        plan = store.plan(epoch=epoch, rank=0, world_size=1)
        assert list(sampler) == plan.indices.tolist()
        assert len(sampler) == len(plan.indices) == 250
        assert sampler.batches == 8
        assert (sampler.epoch, sampler.shard.subset_size, sampler.shard.dataset_size) == (epoch, 250, 500)


def test_a_start_batch_skips_that_many_batches_and_keeps_the_rest_in_place(sampler):
    sampler.set_epoch(0)
    whole, weights = list(sampler), sampler.position_weights
    for start in range(9):
        sampler.set_epoch(0, start_batch=start)
        assert list(sampler) == whole[32 * start :]
        assert np.array_equal(sampler.position_weights, weights[32 * start :])
        assert (len(sampler), sampler.batches) == (len(whole[32 * start :]), 8 - start)
        assert len(sampler.shard.indices) == len(whole)


def test_weights_belong_to_the_indices_asked_for_and_a_fill_weighs_nothing():
    sampler = PruningSampler(FixedPlan([7, 2, 9, 4], [1.5, 2.0, 0.0, 3.25]), 2, rank=0, world_size=1)
    sampler.set_epoch(0)
    weights = sampler.weights(torch.tensor([[4, 9], [7, 2]]))
    assert weights.dtype == torch.float32
    assert weights.tolist() == [[3.25, 0.0], [1.5, 2.0]]
    sampler.set_epoch(1)
    assert sampler.weights(torch.tensor([[7, 2], [9, 4]])).tolist() == [[1.5, 2.0], [0.0, 3.25]]
    sampler.set_epoch(2)
    assert sampler.weights(torch.tensor([7, 2], dtype=torch.int32)).tolist() == [1.5, 2.0]


@given(shard=st.permutations(range(12)), asked=st.lists(st.lists(st.integers(0, 11), max_size=5), max_size=9))
def test_weights_are_the_same_in_whatever_order_they_are_asked_for(shard, asked):
    sampler = PruningSampler(FixedPlan(shard, [1 + i / 4 for i in shard]), 3, rank=0, world_size=1)
    sampler.set_epoch(0, start_batch=1)
    in_order = [shard[start : start + 3] for start in (3, 6, 9)]
    for indices in (*in_order, *asked, *in_order):
        weights = sampler.weights(torch.tensor(indices, dtype=torch.int64))
        assert weights.tolist() == [1 + i / 4 for i in indices]
        weights.zero_()  # the caller's to change


def test_weights_before_the_first_epoch_are_refused(store):
    with pytest.raises(UsageError, match="call sampler"):
        PruningSampler(store, batch_size=4, rank=0, world_size=1).weights(torch.tensor([1]))


def test_the_weight_of_an_example_of_another_rank_is_refused():
    sampler = PruningSampler(FixedPlan([7, 2], [1.0, 1.0]), 2, rank=1, world_size=2)
    sampler.set_epoch(3)
    for stranger in (0, 5, 8):
        with pytest.raises(UsageError, match=f"indices: {stranger} is not in the shard of rank 1 in epoch=3"):
            sampler.weights(torch.tensor([2, stranger]))


def test_ranks_get_the_same_number_of_examples_and_together_the_whole_plan():
    pruning = sadp_dist.PruningConfig(ratio=0.7, epochs=3, seed=1)
    store = sadp_dist.connect("memory:", run="ranks", dataset_size=101, pruning=pruning)
    samplers = [PruningSampler(store, batch_size=4, rank=rank, world_size=4) for rank in range(4)]
    for sampler in samplers:
        sampler.set_epoch(0)
    assert {len(sampler) for sampler in samplers} == {8}
    trained = [i for s in samplers for i, w in zip(s, s.position_weights, strict=True) if w > 0]
    assert sorted(trained) == sorted(store.plan(epoch=0, rank=0, world_size=1).indices.tolist())
    store.close()


def report_shard(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    sampler = SequentialShard(7, batch_size=2)
    Path(folder, str(rank)).write_text(f"{sampler.rank} {sampler.world_size} {list(sampler)}")
    dist.destroy_process_group()


@pytest.mark.slow
def test_rank_and_world_size_come_from_torch_distributed(tmp_path):
    forkserver = multiprocessing.get_context("forkserver")
    processes = [forkserver.Process(target=report_shard, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    reports = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert reports == ["0 2 [0, 1, 2]", "1 2 [3, 4, 5, 6]"]
    alone = SequentialShard(7, batch_size=2)
    assert (alone.rank, alone.world_size) == (0, 1)


def test_a_plain_dataloader_takes_the_sampler(sampler):
    dataset = TensorDataset(torch.arange(500))
    loader = DataLoader(dataset, batch_size=32, sampler=sampler)
    sampler.set_epoch(0)
    first = torch.cat([index for (index,) in loader])
    assert first.tolist() == list(sampler)
    sampler.set_epoch(1)
    second = torch.cat([index for (index,) in loader])
    assert second.tolist() == list(sampler) != first.tolist()


def test_an_epoch_without_examples_has_no_batches():
    sampler = PruningSampler(FixedPlan([], []), 2, rank=0, world_size=1)
    sampler.set_epoch(0)
    assert (list(sampler), len(sampler), sampler.batches) == ([], 0, 0)
    assert sampler.weights(torch.empty(0, dtype=torch.int64)).shape == (0,)
    with pytest.raises(UsageError, match="indices: 3 is not"):
        sampler.weights(torch.tensor([3]))


@given(size=st.integers(0, 60), world_size=st.integers(1, 9), batch_size=st.integers(1, 8))
def test_sequential_shards_hold_every_example_once_with_weight_one(size, world_size, batch_size):
    shards = [SequentialShard(size, batch_size, rank, world_size) for rank in range(world_size)]
    assert [i for shard in shards for i in shard] == list(range(size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for shard in shards:
        assert (shard.position_weights == 1).all()
        assert shard.batches == len(range(0, len(shard), batch_size))


def test_mistakes_are_one_line_that_says_what_is_allowed(store):
    with pytest.raises(UsageError, match=r"^batch_size=0: must be at least 1$"):
        PruningSampler(store, batch_size=0, rank=0, world_size=1)
    with pytest.raises(UsageError, match=r"^rank=2: must be from 0 to world_size - 1 = 1$"):
        PruningSampler(store, batch_size=4, rank=2, world_size=2)
    sampler = PruningSampler(store, batch_size=100, rank=0, world_size=1)
    with pytest.raises(UsageError, match="call sampler"):
        len(sampler)
    with pytest.raises(UsageError, match="call sampler"):
        next(iter(sampler))
    with pytest.raises(UsageError, match=r"^epoch=-1: must be at least 0$"):
        sampler.set_epoch(-1)
    with pytest.raises(
        UsageError, match=r"^start_batch=4: must be from 0 to 3, the batches of this rank in epoch=0$"
    ):
        sampler.set_epoch(0, start_batch=4)
