"""Files larger than memory: whole pages are read once an epoch, and kept while they are needed."""

from __future__ import annotations

import shutil
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sadp_dist
from sadp_dist.errors import UsageError
from sadp_dist.loading import PageOrder, PruningSampler

pytest.importorskip("ffcv")

from sadp_dist.loading import FFCVLoader, beton_pages, write_beton
from sadp_dist.loading.page_cache import schedule

N = 900


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """900 images of 64 KiB that are all different, so that the file has 8 pages."""
    random = np.random.default_rng(0)
    images = [(random.integers(0, 256, (128, 170, 3), dtype=np.uint8), i % 7) for i in range(N)]
    path = tmp_path_factory.mktemp("noise") / "noise.beton"
    write_beton(images, path, image_format="raw")
    return path, images


def sampler_of(path, window, rank=0, world_size=1, batch_size=32):
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=4, seed=1, shard_block=200)
    store = sadp_dist.connect("memory:", run="noise", dataset_size=N, pruning=pruning)
    order = PageOrder(beton_pages(path), window, seed=1)
    return PruningSampler(store, batch_size, rank, world_size, page_order=order)


def batches_equal(some, others):
    return all(
        torch.equal(a, b) for x, y in zip(some, others, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_it_gives_the_batches_that_the_systems_cache_gives_and_reads_each_page_once(noise):
    path, images = noise
    sampler = sampler_of(path, window=2)
    by_page, by_system = FFCVLoader(path, sampler, os_cache=False), FFCVLoader(path, sampler)
    cache = by_page._loader.memory_manager
    for epoch in range(3):
        sampler.set_epoch(epoch)
        before = cache.pages_read
        batches = list(by_page)
        assert cache.pages_read - before == len(np.unique(beton_pages(path)[sampler.indices])) >= 7
        assert batches_equal(batches, by_system)
    assert len(cache._memory) < 7
    image, label, index, _ = batches[0]
    assert np.array_equal(image[0].permute(1, 2, 0), images[index[0]][0])
    assert label[0] == images[index[0]][1]


def test_a_resume_reads_the_pages_of_the_rest_alone(noise):
    path, _ = noise
    sampler = sampler_of(path, window=1)
    loader = FFCVLoader(path, sampler, os_cache=False)
    cache = loader._loader.memory_manager
    sampler.set_epoch(1)
    whole, of_whole = list(loader), cache.pages_read
    sampler.set_epoch(1, start_batch=10)
    assert batches_equal(list(loader), whole[10:])
    assert cache.pages_read - of_whole < of_whole


def test_leaving_epochs_early_leaves_nothing_behind(noise):
    path, images = noise
    sampler = sampler_of(path, window=8, batch_size=8)
    loader = FFCVLoader(path, sampler, os_cache=False)
    for epoch in sorted([0, 1, 2, 3] * 3):
        sampler.set_epoch(epoch)
        for pixels, _, index, _ in loader:
            assert np.array_equal(pixels[0].permute(1, 2, 0), images[index[0]][0])
            break
    assert batches_equal(list(loader), FFCVLoader(path, sampler))


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error(noise, tmp_path):
    path = tmp_path / "cut.beton"
    shutil.copy(noise[0], path)
    sampler = sampler_of(path, window=2)
    loader = FFCVLoader(path, sampler, os_cache=False)
    with path.open("rb+") as file:
        file.truncate(1 << 23)
    sampler.set_epoch(0)
    with pytest.raises(OSError, match="it was truncated"):
        list(loader)


def test_an_order_that_needs_more_pages_than_there_is_memory_for_is_refused(noise):
    path, _ = noise
    loader = FFCVLoader(path, sampler_of(path, window=1), os_cache=False)
    with pytest.raises(UsageError, match=r"^os_cache=False: this order needs .* a smaller window$"):
        loader._loader.memory_manager.memory(1 << 30)


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 25), min_size=1, max_size=40), max_size=12), st.integers(0, 5))
def test_a_page_is_in_its_place_from_before_its_first_batch_until_after_its_last(batches, ahead):
    plan = schedule([np.array(batch, np.int64) for batch in batches], ahead)
    there: dict[int, int] = {}  # what is in each place
    pages = list(chain(*batches))
    assert len(batches) == len(plan.read) == len(plan.needed)
    for number, batch in enumerate(batches):
        for page in plan.read[number]:
            there[int(plan.slot[page])] = page
        assert all(there[int(plan.slot[page])] == page for page in batch)
    assert sorted(page for some in plan.read for page in some) == sorted(set(pages))
    assert sorted(page for some in plan.needed for page in some) == sorted(set(pages))
    assert plan.slots == len(there)
