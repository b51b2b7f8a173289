"""An epoch goes on where it was: every example of its plan once, for any ranks, batch sizes and loaders."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

import sadp_dist
from sadp_dist.errors import UsageError
from sadp_dist.loading import FFCVLoader, PageOrder, PruningSampler, SequentialShard, TorchLoader

N = 100


def connect(ratio=0.5, n=N, method="random", seed=3, **pruning):
    config = sadp_dist.PruningConfig(ratio=ratio, epochs=4, method=method, seed=seed, **pruning)
    return sadp_dist.connect("memory:", "run", n, config)


def loader_of(sampler, **options):
    return DataLoader(TensorDataset(torch.arange(N)), sampler.batch_size, sampler=sampler, **options)


def train(sampler, loader, batches=None):
    """Train on some batches, or on all; returns the examples, without padding."""
    trained = []
    for number, (index,) in enumerate(loader, 1):
        trained += index[sampler.weights(index) > 0].tolist()
        if number == batches:
            break
    return trained


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(0, 6)), min_size=1, max_size=3),
    last=st.tuples(st.integers(1, 5), st.integers(1, 7)),
    n=st.integers(1, 60),
    kind=st.sampled_from(["plain", "blocks", "pages"]),
)
def test_jobs_of_any_ranks_and_batch_sizes_train_on_each_example_of_an_epoch_once(jobs, last, n, kind):
    store = connect(0.25, n, shard_block=None if kind == "plain" else 4)
    order = PageOrder(np.arange(n) // 5, window=2) if kind == "pages" else None
    trained, states = Counter(), None
    for ranks, batch_size, batches in [*jobs, (*last, 10**6)]:
        samplers = [PruningSampler(store, batch_size, rank, ranks, order) for rank in range(ranks)]
        for sampler in samplers:
            if states is None:
                sampler.set_epoch(1)
            else:  # one state for all ranks, or each its own
                sampler.load_state_dict(states[min(sampler.rank, len(states) - 1)])
            seen = iter(sampler)
            for _ in range(min(batches, sampler.batches)):
                index = torch.tensor([i for _, i in zip(range(batch_size), seen, strict=False)])
                trained.update(index[sampler.weights(index) > 0].tolist())
        states = [sampler.state_dict() for sampler in samplers]
        assert len({str(state["taken"]) for state in states}) == 1
    plan = store.plan(epoch=1, rank=0, world_size=1).indices.tolist()
    assert trained == Counter(plan)


def test_an_epoch_goes_on_with_the_same_batches_whoever_calls_set_epoch_and_how_often():
    store = connect()
    first = PruningSampler(store, 8, 0, 1)
    first.set_epoch(0)
    train(first, loader_of(first))
    first.set_epoch(1)
    done = train(first, loader_of(first, num_workers=2), batches=3)  # which has read ahead
    state = first.state_dict()
    assert state["taken"] == [[1, 24]]
    for calls in (0, 1, 2):
        second = PruningSampler(store, 8, 0, 1)
        second.load_state_dict(state)
        assert second.state_dict() == state
        for _ in range(calls):
            second.set_epoch(1)
        assert (second.epoch, len(second), second.batches) == (1, 26, 4)
        rest = train(second, loader_of(second))
        assert done + rest == store.plan(epoch=1, rank=0, world_size=1).indices.tolist()
        assert second.state_dict()["taken"] == [[1, 50]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.set_epoch(2)  # which has nothing to say of the epoch before
    assert len(second) == 50


def test_a_state_at_the_end_of_an_epoch_lets_the_next_one_begin():
    store = connect()
    sampler = PruningSampler(store, 8, 0, 1)
    assert sampler.state_dict() == {}
    sampler.load_state_dict({})
    sampler.set_epoch(0)
    train(sampler, loader_of(sampler))
    end = sampler.state_dict()
    for before in (True, False):  # torchdata's loader loads its state after the user's call
        again = PruningSampler(store, 8, 0, 1)
        if before:
            again.load_state_dict(end)
        again.set_epoch(1)
        again.load_state_dict(end)
        assert (again.epoch, len(again)) == (1, 50)


def test_what_would_leave_examples_out_or_train_on_them_twice_is_refused_or_warned_of():
    store = connect()
    sampler = PruningSampler(store, 8, 0, 1)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        train(sampler, loader_of(sampler), batches=3)
    state = sampler.state_dict()

    def resumed(store=store, world_size=1):
        again = PruningSampler(store, 8, 0, world_size)
        again.load_state_dict(state)
        return again

    with pytest.raises(UsageError, match="epoch=0: the state that was loaded is in epoch=1"):
        resumed().set_epoch(0)
    with pytest.warns(UserWarning, match="epoch=1 of the state .* has 26 of 50 examples of each rank left"):
        resumed().set_epoch(2)
    another = connect(seed=4)
    for world_size in (1, 2):
        with pytest.raises(UsageError, match="plan of epoch=1 has other examples .* load the store"):
            resumed(another, world_size).set_epoch(1)
    for broken in ({"epoch": 1}, {**state, "taken": []}, {**state, "rank": 7}, {**state, "taken": [[0, 2]]}):
        with pytest.raises(UsageError, match="must be what state_dict"):
            sampler.load_state_dict(broken)


def test_a_loop_that_says_of_no_example_that_it_trains_on_it_is_told_so():
    sampler = PruningSampler(connect(), 8, 0, 1)
    sampler.set_epoch(0)
    next(iter(loader_of(sampler)))
    with pytest.warns(UserWarning, match="weights.index. was not called in epoch=0, so nobody knows"):
        assert sampler.state_dict()["taken"] == [[1, 0]]
    for _ in loader_of(sampler):
        pass
    assert sampler.state_dict()["taken"] == [[1, 50]]


@pytest.mark.parametrize("kind", ["torch", "ffcv"])
def test_the_loaders_have_the_state_of_their_sampler(kind, store, digits_beton, digits):
    from sadp_dist.data import open_images

    def make():
        sampler = PruningSampler(store, 32, 0, 1)
        if kind == "ffcv":
            return FFCVLoader(digits_beton, sampler)
        return TorchLoader(open_images(digits), sampler)

    loader = make()
    loader.sampler.set_epoch(0)
    batches = iter(loader)
    begun = [next(batches)[2] for _ in range(3)]
    again = make()
    again.sampler.set_epoch(0)
    again.begin()
    again.load_state_dict(loader.state_dict())
    assert len(again) == len(loader) - 3
    indices = torch.cat([*begun, *(index for *_, index, _ in again)])
    assert indices.tolist() == store.plan(epoch=0).indices.tolist()


def test_a_sampler_in_order_has_a_state_too():
    sampler = SequentialShard(10, 2)
    loader = TorchLoader([(torch.zeros(1), 0)] * 10, sampler)
    batches = iter(loader)
    assert [next(batches)[2].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    again = SequentialShard(10, 2)
    again.load_state_dict(loader.state_dict())
    assert list(again) == [4, 5, 6, 7, 8, 9]
    other = SequentialShard(10, 2, rank=0, world_size=2)
    other.load_state_dict(loader.state_dict())
    with pytest.raises(UsageError, match="the state is of 1 ranks, but this sampler has 2"):
        list(other)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batches", [0, 3, 7])
def test_torchdatas_stateful_loader_goes_on_where_it_was(workers, batches):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    store = connect()

    def make():
        sampler = PruningSampler(store, 8, 0, 1)
        dataset = TensorDataset(torch.arange(N))
        return sampler, stateful.StatefulDataLoader(dataset, 8, sampler=sampler, num_workers=workers)

    warnings.filterwarnings("error", "state_dict")
    sampler, loader = make()
    sampler.set_epoch(1)
    reading = iter(loader)
    begun = [next(reading)[0] for _ in range(batches)]
    state = loader.state_dict()
    again, resumed = make()
    again.set_epoch(1)
    resumed.load_state_dict(state)
    indices = torch.cat([*begun, *(index for (index,) in resumed)])
    assert indices.tolist() == store.plan(epoch=1).indices.tolist()
    again.set_epoch(2)
    assert torch.cat([index for (index,) in resumed]).tolist() == store.plan(epoch=2).indices.tolist()


def test_accelerates_load_state_goes_on_where_it_was(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    plans = {}

    def job(folder=None, stop=None):
        """Train two epochs, from a saved state on; save and leave after some batches of the second."""
        accelerate.state.AcceleratorState._reset_state(True)
        accelerator = accelerate.Accelerator(cpu=True)
        store = connect(method="sadp")
        sampler = PruningSampler(store, 8)
        loader = accelerate.data_loader.prepare_data_loader(
            loader_of(sampler), accelerator.device, num_processes=1, process_index=0
        )
        accelerator.register_for_checkpointing(store, sampler)
        if folder is not None:
            accelerator.load_state(folder)
        seen = {}
        for epoch in range(sampler.epoch if folder else 0, 2):
            loader.set_epoch(epoch)
            plans[epoch] = sampler.shard.indices.tolist()
            for number, (index,) in enumerate(loader, 1):
                seen.setdefault(epoch, []).extend(index[sampler.weights(index) > 0].tolist())
                store.push(index, index.float(), epoch=epoch)
                if (epoch, number) == stop:
                    accelerator.save_state(tmp_path / "state")
                    return seen
        return seen

    before = job(stop=(1, 3))
    planned = plans[1]
    after = job(tmp_path / "state")
    assert plans[1] == planned and list(after) == [1]
    assert before[1] + after[1] == planned


def test_batches_that_accelerate_would_skip_again_are_refused():
    accelerate = pytest.importorskip("accelerate")
    store = connect()
    sampler = PruningSampler(store, 8, 0, 1)
    sampler.set_epoch(0)
    train(sampler, loader_of(sampler), batches=2)
    again = PruningSampler(store, 8, 0, 1)
    again.load_state_dict(sampler.state_dict())
    skipping = accelerate.skip_first_batches(loader_of(again), 2)
    with pytest.raises(UsageError, match="skips batches again: .* use the loader itself"):
        next(iter(skipping))
