"""An epoch that begins before it is asked for: the same batches, read while something else runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from sadp_dist.data import open_images
from sadp_dist.loading import SequentialShard, TorchLoader

pytest.importorskip("ffcv")

from sadp_dist.loading import FFCVLoader
from tests.loading.test_ffcv_loader import reading_threads


class Count(torch.nn.Module):
    """How many batches have come by."""

    batches = 0

    def forward(self, images):
        self.batches += 1
        return images


@pytest.fixture(scope="module")
def counted(digits_beton):
    """A loader whose batches are counted where they are made, and the count."""
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.transforms import ToTensor

    count = Count()
    pipeline = {"image": [SimpleRGBImageDecoder(), ToTensor(), count]}
    return FFCVLoader(digits_beton, SequentialShard(500, 32, 0, 1), pipeline, batches_ahead=2), count


def equal(some, others):
    return all(
        torch.equal(x, y) for a, b in zip(some, others, strict=True) for x, y in zip(a, b, strict=True)
    )


def test_batches_are_made_before_anybody_asks_for_one_and_are_the_same(counted):
    loader, count = counted
    whole = list(loader)
    before = count.batches
    loader.begin()
    deadline = time.monotonic() + 60
    while count.batches - before < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert 3 <= count.batches - before <= 4, "two in the queue, and one or two more in the making"
    assert equal(loader, whole)
    assert count.batches - before == 16
    assert equal(loader, whole), "an iteration without begin()"
    assert count.batches - before == 32


def test_an_epoch_begun_and_left_keeps_no_thread_and_another_position_is_read_anew(counted):
    loader, _ = counted
    whole = list(loader)
    loader.begin()
    loader.sampler.set_epoch(0, start_batch=5)
    assert equal(loader, whole[5:])
    loader.sampler.set_epoch(0, start_batch=16)
    loader.begin()
    assert list(loader) == []
    loader.sampler.set_epoch(0)
    loader.begin()
    assert len(reading_threads()) == 1
    loader.close()
    assert reading_threads() == []


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_torchs_workers_begin_before_they_are_asked_too(digits, sampler, workers):
    loader = TorchLoader(open_images(digits), sampler, num_workers=workers)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        loader.begin()
        batches = list(loader)
        assert np.array_equal(torch.cat([index for _, _, index, _ in batches]), sampler.indices)
        assert equal(loader, batches)
    loader.begin()
    sampler.set_epoch(1, start_batch=3)
    assert np.array_equal(torch.cat([index for _, _, index, _ in loader]), sampler.indices)


TWO_LOADERS = """
import sys
from sadp_dist.loading import FFCVLoader, SequentialShard

one, other = (FFCVLoader(sys.argv[1], SequentialShard(500, 5, 0, 1), num_workers=2) for _ in range(2))
for _ in range(20):
    one.begin()
    assert sum(len(batch[1]) for batch in other) == sum(len(batch[1]) for batch in one) == 500
"""


@pytest.mark.slow
def test_two_loaders_read_at_a_time_with_the_threads_of_numba_that_forbid_it(digits_beton):
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_LOADERS, digits_beton], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
