"""Batches of nearly equal size: by properties, and through every loader."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sadp_dist.errors import UsageError
from sadp_dist.loading import FFCVLoader, PruningSampler, TorchLoader
from sadp_dist.loading.batch_sizes import even_sizes
from sadp_dist.selection.config import PruningConfig
from sadp_dist.store import connect

examples = st.integers(0, 3000)
batch_sizes = st.integers(1, 300)
accumulates = st.integers(1, 5)


@given(examples, batch_sizes, accumulates)
def test_all_examples_are_in_as_few_steps_as_possible_of_so_many_batches(examples, batch_size, accumulate):
    sizes = even_sizes(examples, batch_size, accumulate)
    assert sizes.sum() == examples
    assert np.all((sizes > 0) & (sizes <= batch_size))
    steps = -(-examples // (batch_size * accumulate))
    assert accumulate * (steps - 1) < len(sizes) <= accumulate * steps or examples == 0


@given(examples, batch_sizes)
def test_sizes_differ_by_a_quarter_of_a_batch_at_most(examples, batch_size):
    sizes = even_sizes(examples, batch_size)
    assert np.all(np.diff(sizes) <= 0)
    if len(sizes):
        assert sizes[0] - sizes[-1] <= max(batch_size // 4, 2)


@given(examples, batch_sizes, accumulates, st.data())
def test_what_is_left_after_some_steps_is_split_as_before(examples, batch_size, accumulate, data):
    sizes = even_sizes(examples, batch_size, accumulate)
    steps = data.draw(st.integers(0, len(sizes) // accumulate))
    rest = sizes[steps * accumulate :]
    assert even_sizes(int(rest.sum()), batch_size, accumulate).tolist() == rest.tolist()


@given(examples, st.integers(1, 8), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_ranks_and_micro_batches_that_share_a_batch_take_the_same_steps(examples, eighth, ranks, accumulate):
    batch_size = 8 * eighth
    whole = even_sizes(examples, batch_size * ranks * accumulate)
    split = even_sizes(-(-examples // ranks), batch_size, accumulate)
    steps = np.add.reduceat(split, np.arange(0, len(split), accumulate)) if len(split) else split
    ends = np.minimum(ranks * np.cumsum(steps), examples)  # without the padding of the last one
    assert ends.tolist() == np.cumsum(whole).tolist()


@pytest.fixture
def store():
    pruning = PruningConfig(method="random", ratio=0.466, epochs=2, seed=3)
    with connect("memory:", run="sizes", dataset_size=500, pruning=pruning) as opened:
        yield opened


def sampler_at(store, epoch, start_batch=0):
    sampler = PruningSampler(store, 38, rank=0, world_size=1)
    sampler.set_epoch(epoch, start_batch)
    return sampler


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 500

    def __getitem__(self, index):
        return torch.tensor([index]), index % 10


LOADERS = {
    "FFCV": lambda beton, sampler: FFCVLoader(beton, sampler),
    "FFCV by pages": lambda beton, sampler: FFCVLoader(beton, sampler, os_cache=False),
    "torch": lambda beton, sampler: TorchLoader(Numbers(), sampler),
    "torch with workers": lambda beton, sampler: TorchLoader(Numbers(), sampler, num_workers=2),
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("start", [0, 3])
def test_loaders_hand_out_batches_of_these_sizes_from_any_place(name, start, store, digits_beton):
    sampler = sampler_at(store, 0, start)
    whole = sampler.shard.indices
    sizes = even_sizes(len(whole), 38).tolist()
    assert len(whole) % 38 == 1  # full batches would leave a single example for the last one
    assert sampler.batch_sizes.tolist() == sizes[start:]
    loader = LOADERS[name](digits_beton, sampler)
    assert len(loader) == len(sizes) - start
    batches = list(loader)
    assert [len(inputs) for inputs, _, _, _ in batches] == sizes[start:]
    read = torch.cat([index for _, _, index, _ in batches])
    assert read.tolist() == whole[sum(sizes[:start]) :].tolist()
    assert torch.equal(torch.cat([weight for _, _, _, weight in batches]), sampler.weights(read))


def test_torchs_data_loader_has_them_too(store):
    sampler = sampler_at(store, 0)
    loader = DataLoader(Numbers(), batch_sampler=sampler.batch_sampler)
    sizes = [len(labels) for _, labels in loader]
    assert sizes == sampler.batch_sizes.tolist() and len(loader) == len(sizes)
    for (inputs, _), batch in zip(loader, sampler.batch_sampler, strict=True):
        assert inputs.flatten().tolist() == batch


@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_the_sizes_of_steps_are_those_of_all_ranks_without_padding(ranks, accumulate, store):
    """Counted from what each rank is given: the batches of a step, and their weights above 0."""
    samplers = [PruningSampler(store, 13, rank, ranks, accumulate=accumulate) for rank in range(ranks)]
    for start in (0, accumulate):
        steps: dict[int, int] = {}
        for sampler in samplers:
            sampler.set_epoch(0, start)
            weights = iter(sampler.position_weights)
            for number, size in enumerate(sampler.batch_sizes.tolist()):
                present = sum(next(weights) > 0 for _ in range(size))
                steps[number // accumulate] = steps.get(number // accumulate, 0) + present
        assert all(sampler.step_sizes.tolist() == list(steps.values()) for sampler in samplers)


def test_a_job_of_other_size_counts_the_steps_of_what_is_left(store):
    before = [PruningSampler(store, 19, rank, 2) for rank in range(2)]
    for sampler in before:
        sampler.set_epoch(0)
    done = int(before[0].batch_sizes[:2].sum())
    for sampler in before:
        sampler.weights(torch.from_numpy(sampler.indices[:done].copy()))
    after = [PruningSampler(store, 13, rank, 3) for rank in range(3)]
    for sampler in after:
        sampler.load_state_dict(before[0].state_dict())
        assert sampler.step_sizes.sum() == sampler.shard.drawn - 2 * done
        assert len(sampler.step_sizes) == sampler.batches


def test_batches_of_a_step_below_one_are_refused(store):
    with pytest.raises(UsageError, match=r"^accumulate=0: must be at least 1$"):
        PruningSampler(store, 4, 0, 1, accumulate=0)
