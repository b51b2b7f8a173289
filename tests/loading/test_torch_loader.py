"""The loader over torch's DataLoader: the sampler's batches, workers that live on, transforms that repeat."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler, SequentialShard, TorchLoader


def read(loader):
    """An epoch, batches put together."""
    return [torch.cat(parts) for parts in zip(*loader, strict=True)]


class Noise(Dataset):
    """Every example is four random numbers, from three generators, and the process that drew them."""

    def __len__(self):
        return 500

    def __getitem__(self, index):
        drawn = [random.random(), np.random.rand(), float(torch.rand(())), os.getpid()]
        return torch.tensor(drawn, dtype=torch.float64), index % 10


@pytest.mark.parametrize("num_workers", [0, 2])
def test_it_yields_the_images_labels_and_weights_of_the_plan(digits, sampler, num_workers):
    images = open_images(digits)
    loader = TorchLoader(images, sampler, num_workers=num_workers)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        assert len(loader) == len(list(loader)) == 8
        pixels, labels, index, weight = read(loader)
        assert (pixels.dtype, labels.dtype, index.dtype) == (torch.uint8, torch.int64, torch.int64)
        assert index.tolist() == list(sampler)
        assert torch.equal(weight, sampler.weights(index))
        assert np.array_equal(labels, images.labels[index])
        for row in (0, 100, 249):
            assert np.array_equal(pixels[row].permute(1, 2, 0), np.asarray(images[int(index[row])][0]))


def test_random_transforms_depend_on_seed_epoch_and_index_alone(store):
    def epoch(number, batch_size=32, num_workers=0, seed=0, start_batch=0):
        sampler = PruningSampler(store, batch_size, rank=0, world_size=1)
        sampler.set_epoch(number, start_batch)
        drawn, _, index, _ = read(TorchLoader(Noise(), sampler, num_workers=num_workers, seed=seed))
        return {int(i): tuple(row[:3].tolist()) for i, row in zip(index, drawn, strict=True)}

    once = epoch(0)
    assert epoch(0, batch_size=7) == once
    assert epoch(0, num_workers=2) == once
    resumed = epoch(0, start_batch=3)
    assert resumed == {i: once[i] for i in resumed}
    assert len(resumed) == 250 - 96
    other_seed, other_epoch = epoch(0, seed=1), epoch(1)
    assert not set(other_epoch.values()) & set(once.values())
    assert not set(other_seed.values()) & set(once.values())
    assert len(set(once.values())) == 250


def test_reading_in_this_process_leaves_its_random_state_alone(sampler):
    sampler.set_epoch(0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(TorchLoader(Noise(), sampler))
    assert torch.equal(torch.rand(3), expected)


def test_workers_live_on_from_epoch_to_epoch_also_after_a_break(sampler):
    loader = TorchLoader(Noise(), sampler, num_workers=2)
    processes = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn, _, index, _ = read(loader)
        assert index.tolist() == list(sampler)
        processes.append(set(drawn[:, 3].tolist()))
        for _ in loader:
            break
    assert processes[0] == processes[1] == processes[2]
    assert len(processes[0]) == 2


def test_an_evaluation_reads_every_example_once_over_the_ranks(digits):
    images = open_images(digits)
    ranks = [read(TorchLoader(images, SequentialShard(len(images), 64, rank, 3))) for rank in range(3)]
    assert torch.cat([index for _, _, index, _ in ranks]).tolist() == list(range(500))


def test_a_dataset_of_another_size_than_the_store_is_refused(digits):
    sampler = SequentialShard(400, 32, 0, 1)
    with pytest.raises(UsageError, match="dataset has 500 examples and its sampler 400"):
        next(iter(TorchLoader(open_images(digits), sampler)))


def test_loading_works_without_ffcv_and_says_how_to_get_it():
    program = (
        "import sys; sys.modules['ffcv'] = None\n"
        "import sadp_dist.loading as loading\n"
        "assert len(loading.TorchLoader(range(5), loading.SequentialShard(5, 2, 0, 1))) == 3\n"
        "try: loading.FFCVLoader\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "ffcv is not installed; install it with: pip install 'sadp_dist[ffcv]'\n"


def test_importing_loading_does_not_import_ffcv():
    program = "import sys, sadp_dist.loading; print('ffcv' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
