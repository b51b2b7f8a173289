"""One compiled FFCV loader for a run whose subset has another size every epoch."""

from __future__ import annotations

import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
import torch
from numba.core import event

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError
from sadp_dist.loading import SequentialShard, TorchLoader
from sadp_dist.loading.sampler import ShardSampler
from sadp_dist.selection.plan import Shard

pytest.importorskip("ffcv")

from sadp_dist.loading import FFCVLoader, beton_size, write_beton

BATCH = 32


class AnySubset(ShardSampler):
    """Subsets of the digits of any size, in any order, with random weights."""

    def __init__(self, sizes, batch_size=BATCH):
        super().__init__(batch_size, rank=0, world_size=1)
        self._sizes = sizes

    def _plan(self, epoch):
        size = self._sizes[epoch]
        random = np.random.default_rng(epoch)
        indices = random.permutation(500)[:size]
        return Shard(indices, random.random(size), size, dataset_size=500, ratio=0.5, epoch=epoch, drawn=size)


def read(loader):
    """An epoch, batches put together."""
    return [torch.cat(parts) for parts in zip(*loader, strict=True)]


@pytest.fixture(scope="module")
def pixels(digits):
    source = open_images(digits)
    return torch.from_numpy(np.stack([np.asarray(source[i][0]) for i in range(500)])).permute(0, 3, 1, 2)


def reading_threads():
    return [thread for thread in threading.enumerate() if type(thread).__name__ == "EpochReader"]


def test_twenty_epochs_of_any_size_give_what_was_asked_and_compile_nothing_anew(digits, digits_beton, pixels):
    labels = torch.from_numpy(open_images(digits).labels)
    sizes = [40, 0, 1, 31, 32, 33, 64, 500, 5, 499, 0, 0, 96, 2, 320, 321, 250, 1, 480, 128]
    sampler = AnySubset(sizes)
    loader = FFCVLoader(digits_beton, sampler)
    sampler.set_epoch(0)
    read(loader)
    with event.install_recorder("numba:compile") as compiled:
        for epoch, size in enumerate(sizes):
            sampler.set_epoch(epoch)
            batches = list(loader)
            assert [len(index) for _, _, index, _ in batches] == [
                min(BATCH, size - start) for start in range(0, size, BATCH)
            ]
            assert len(loader) == len(batches)
            for number, (images, label, index, weight) in enumerate(batches):
                asked = sampler.indices[number * BATCH : (number + 1) * BATCH]
                assert np.array_equal(index, asked)
                assert torch.equal(images, pixels[index])
                assert torch.equal(label, labels[index])
                assert torch.equal(weight, sampler.weights(index))
    assert compiled.buffer == []


def test_batches_have_the_types_that_training_takes_and_are_the_callers_to_keep(digits_beton, pixels):
    sampler = AnySubset([500])
    sampler.set_epoch(0)
    kept = list(FFCVLoader(digits_beton, sampler, batches_ahead=1))  # 3 slots of buffers for 16 batches
    assert len(kept) == 16
    for images, labels, index, weight in kept:
        assert torch.equal(images, pixels[index])
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert (index.dtype, weight.dtype) == (torch.int64, torch.float32)
        assert images.shape[1:] == (3, 16, 16)
        assert images.is_contiguous()
        assert labels.shape == index.shape == weight.shape == images.shape[:1]


def test_a_run_with_a_store_trains_on_its_plan(digits_beton, store, sampler):
    loader = FFCVLoader(digits_beton, sampler)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        _, _, index, weight = read(loader)
        plan = store.plan(epoch=epoch, rank=0, world_size=1)
        assert np.array_equal(index, plan.indices)
        assert np.array_equal(weight, plan.weights.astype(np.float32))


def test_it_gives_the_batches_that_the_loader_over_torch_gives(digits, digits_beton, sampler):
    sampler.set_epoch(1)
    through_torch = TorchLoader(open_images(digits), sampler)
    for ours, theirs in zip(FFCVLoader(digits_beton, sampler), through_torch, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_resume_within_an_epoch_reads_the_rest_of_it(digits_beton, sampler):
    loader = FFCVLoader(digits_beton, sampler)
    sampler.set_epoch(2)
    whole = list(loader)
    for start in (0, 1, 5, 7, 8):
        sampler.set_epoch(2, start_batch=start)
        assert len(loader) == len(whole) - start
        rest = list(loader)
        assert len(rest) == len(whole) - start
        for resumed, first in zip(rest, whole[start:], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(resumed, first, strict=True))


def test_leaving_epochs_early_neither_hangs_nor_keeps_threads(digits_beton, pixels):
    sampler = AnySubset([500] * 20)
    loader = FFCVLoader(digits_beton, sampler)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        for images, _, index, _ in loader:
            assert torch.equal(images, pixels[index])
            break
        assert reading_threads() == []
    sampler.set_epoch(0)
    assert np.array_equal(read(loader)[2], sampler.indices)


def test_leaving_an_epoch_stops_the_reading(digits_beton):
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.transforms import ToTensor, ToTorchImage

    class Count(torch.nn.Module):
        batches = 0

        def forward(self, images):
            self.batches += 1
            return images

    count, sampler = Count(), AnySubset([500], batch_size=1)
    sampler.set_epoch(0)
    pipeline = [SimpleRGBImageDecoder(), ToTensor(), count, ToTorchImage()]
    for _ in FFCVLoader(digits_beton, sampler, {"image": pipeline}, batches_ahead=2):
        break
    assert 1 <= count.batches <= 5


def test_a_second_iteration_ends_the_first(digits_beton):
    sampler = AnySubset([500])
    sampler.set_epoch(0)
    loader = FFCVLoader(digits_beton, sampler)
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    assert len(reading_threads()) == 1
    with pytest.raises(RuntimeError, match="this epoch was stopped, because its loader began another"):
        next(first)
    second.close()
    assert reading_threads() == []


def test_an_error_while_reading_reaches_the_training_loop(digits_beton):
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.transforms import ToTensor

    class Broken(torch.nn.Module):
        def forward(self, images):
            raise RuntimeError("the device is gone")

    sampler = AnySubset([500])
    sampler.set_epoch(0)
    loader = FFCVLoader(digits_beton, sampler, {"image": [SimpleRGBImageDecoder(), ToTensor(), Broken()]})
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(loader)
    assert reading_threads() == []


def test_importing_the_loader_leaves_torch_its_threads_and_takes_what_is_compiled_already():
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "import sadp_dist.loading.ffcv_loader; print(torch.get_num_threads())\n"
        "from numba.typed import typeddict\n"
        "for found in (typeddict._setitem.stats, typeddict._getitem.stats):\n"
        "    print(sum(found.cache_hits.values()), sum(found.cache_misses.values()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "3\n1 0\n1 0\n", done.stderr


def test_the_number_of_threads_of_torch_and_numba_stays_what_it_was(digits_beton):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = 2, numba.get_num_threads()
        sampler = AnySubset([500])
        sampler.set_epoch(0)
        for _ in FFCVLoader(digits_beton, sampler, num_workers=1):
            assert (torch.get_num_threads(), numba.get_num_threads()) == threads
        assert (torch.get_num_threads(), numba.get_num_threads()) == threads
    finally:
        torch.set_num_threads(before)


def test_an_evaluation_reads_every_example_once_over_the_ranks(digits_beton):
    ranks = [read(FFCVLoader(digits_beton, SequentialShard(500, 64, rank, 3))) for rank in range(3)]
    assert torch.cat([index for _, _, index, _ in ranks]).tolist() == list(range(500))


def test_own_pipelines_replace_the_default(digits_beton, pixels):
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.transforms import Convert, ToTensor, ToTorchImage

    pipeline = [SimpleRGBImageDecoder(), ToTensor(), ToTorchImage(), Convert(torch.float32)]
    sampler = AnySubset([100])
    sampler.set_epoch(0)
    images, _, index, _ = read(FFCVLoader(digits_beton, sampler, pipelines={"image": pipeline}))
    assert torch.equal(images, pixels[index].float())


def test_mistakes_are_one_line_that_says_what_is_allowed(digits, digits_beton, tmp_path):
    sampler = SequentialShard(500, 32, 0, 1)
    with pytest.raises(
        UsageError, match=r"^num_workers=0: must be from 1 to \d+, the number of numba's threads$"
    ):
        FFCVLoader(digits_beton, sampler, num_workers=0)
    with pytest.raises(UsageError, match=r"^batches_ahead=0: must be at least 1$"):
        FFCVLoader(digits_beton, sampler, batches_ahead=0)
    with pytest.raises(UsageError, match=r"^image_size=-1: must be at least 1 pixel$"):
        FFCVLoader(digits_beton, sampler, image_size=-1)
    with pytest.raises(
        UsageError, match=r"^pipelines: field 'images' is not allowed; must be 'image' or 'label'$"
    ):
        FFCVLoader(digits_beton, sampler, pipelines={"images": []})
    with pytest.raises(UsageError, match=r"has 500 examples and its sampler 400; they must agree$"):
        next(iter(FFCVLoader(digits_beton, SequentialShard(400, 32, 0, 1))))
    mixed = tmp_path / "mixed.beton"
    write_beton([(np.zeros((8, 9, 3), np.uint8), 0), (np.zeros((9, 8, 3), np.uint8), 0)], mixed)
    with pytest.raises(UsageError, match=r"^image_size: required, as the sizes of the images differ"):
        FFCVLoader(mixed, SequentialShard(2, 2, 0, 1))


@pytest.mark.slow
def test_a_program_that_leaves_an_epoch_unfinished_ends(digits_beton):
    program = (
        "import sys; from sadp_dist.loading import FFCVLoader, SequentialShard\n"
        "batches = iter(FFCVLoader(sys.argv[1], SequentialShard(500, 8, 0, 1)))\n"
        "print(len(next(batches)[2]))"
    )
    command = [sys.executable, "-c", program, str(digits_beton)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout == "8\n"


def test_cifar10_comes_through_as_it_is_in_its_zip(real_images, tmp_path):
    source = open_images(real_images / "cifar10.zip", "test")
    some = [source[i] for i in range(0, 10_000, 20)]
    out = tmp_path / "cifar10.beton"
    write_beton(some, out)
    assert beton_size(out) == 500
    sampler = AnySubset([123])
    sampler.set_epoch(0)
    images, labels, index, _ = read(FFCVLoader(out, sampler))
    for image, label, i in zip(images, labels, index.tolist(), strict=True):
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(some[i][0]))
        assert label == some[i][1]


def test_numbas_types_stay_as_they_are(digits_beton):
    of_bytes = numba.uint8[::1]
    before = hash(of_bytes)
    list(FFCVLoader(digits_beton, SequentialShard(500, 32, 0, 1)))
    assert of_bytes.mutable and hash(of_bytes) == before
