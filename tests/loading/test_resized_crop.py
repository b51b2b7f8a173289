"""Random resized crops: torchvision's distribution, and the same box for the same (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import event
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from sadp_dist.data import open_images
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.loading.sampler import ShardSampler
from sadp_dist.selection.plan import Shard
from sadp_dist.selection.random import bits, stream_key

pytest.importorskip("ffcv")

from sadp_dist.loading import FFCVLoader, SequentialShard, write_beton
from sadp_dist.loading.resized_crop import crop_box

# numba's finalizers now and then complain when a compiled decoder is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
IMAGES = 60


def box(key, height, width, scale=SCALE, ratio=RATIO):
    return crop_box(np.uint64(key), height, width, np.array(scale), np.array(ratio))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 120), (32, 32)])
def test_boxes_follow_torchvisions_distribution(height, width):
    torch.manual_seed(0)
    count = 4000
    ours = np.array([box(bits(np.uint64(7), i), height, width) for i in range(count)])
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, SCALE, RATIO) for _ in range(count)])
    for drawn, expected in zip(ours.T, theirs.T, strict=True):
        assert ks_2samp(drawn, expected).pvalue > 1e-3
    area = lambda boxes: boxes[:, 2] * boxes[:, 3]  # noqa: E731
    assert ks_2samp(area(ours), area(theirs)).pvalue > 1e-3


@given(key=st.integers(0, 2**64 - 1), height=st.integers(1, 3000), width=st.integers(1, 3000))
@settings(max_examples=500)
def test_a_box_lies_within_its_image(key, height, width):
    top, left, h, w = box(key, height, width)
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h > 0
    assert w > 0


def test_where_no_box_fits_it_is_the_largest_central_one():
    assert box(3, 1000, 10, scale=(0.9, 1.0)) == (493, 0, 13, 10)
    assert box(3, 10, 1000, scale=(0.9, 1.0)) == (0, 493, 10, 13)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty pictures of noise of different sizes, half of them stored as JPEG."""
    random = np.random.default_rng(0)
    sizes = random.integers(40, 90, (IMAGES, 2))
    images = [(random.integers(0, 256, (h, w, 3), dtype=np.uint8), i) for i, (h, w) in enumerate(sizes)]
    path = tmp_path_factory.mktemp("pictures") / "pictures.beton"
    write_beton(images, path, image_format="smart", smart_threshold=int(np.median(sizes.prod(1)) * 3))
    return path


class Shuffled(ShardSampler):
    """All examples in an order of its own, or some of them."""

    def __init__(self, batch_size, size=IMAGES, order_seed=0):
        super().__init__(batch_size, rank=0, world_size=1)
        self._indices = np.random.default_rng(order_seed).permutation(IMAGES)[:size]

    def _plan(self, epoch):
        size = len(self._indices)
        return Shard(self._indices, np.ones(size), size, IMAGES, ratio=0.0, epoch=epoch, drawn=size)


def crops(pictures, sampler, epochs, start_batch=0, **options):
    """Each epoch's crop of each example, from one loader."""
    loader = FFCVLoader(pictures, sampler, image_size=24, **options)
    for epoch in epochs:
        sampler.set_epoch(epoch, start_batch)
        yield {
            int(i): image for images, _, index, _ in loader for i, image in zip(index, images, strict=True)
        }


def same(some, others):
    assert some
    return all(torch.equal(image, others[i]) for i, image in some.items())


@pytest.mark.slow
def test_a_crop_depends_on_seed_epoch_and_index_alone(pictures):
    first, second = crops(pictures, Shuffled(16), [0, 1])
    assert not any(torch.equal(first[i], second[i]) for i in range(IMAGES))
    (again,) = crops(pictures, Shuffled(7, order_seed=5), [1], num_workers=2)
    assert len(again) == IMAGES
    assert same(again, second)
    (some,) = crops(pictures, Shuffled(16, size=20), [1])
    assert len(some) == 20
    assert same(some, second)
    (resumed,) = crops(pictures, Shuffled(16), [1], start_batch=2)
    assert len(resumed) == IMAGES - 32
    assert same(resumed, second)
    (other_seed,) = crops(pictures, Shuffled(16), [1], seed=1)
    assert not any(torch.equal(other_seed[i], second[i]) for i in range(IMAGES))


def test_a_new_epoch_compiles_nothing(pictures):
    sampler = Shuffled(16)
    epochs = crops(pictures, sampler, range(4))
    seen = [next(epochs)]
    with event.install_recorder("numba:compile") as compiled:
        seen += list(epochs)
    assert compiled.buffer == []
    assert len({image[0].numpy().tobytes() for image in seen}) == 4


def test_the_crop_is_the_box_of_the_image_resized(tmp_path):
    height, width, size = 80, 60, 20
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 4, y * 3, np.zeros_like(x)], axis=-1).astype(np.uint8)
    write_beton([(ramp, 0)] * IMAGES, tmp_path / "ramp.beton", image_format="raw")
    loader = FFCVLoader(tmp_path / "ramp.beton", sampler := Shuffled(16), image_size=size, seed=4)
    sampler.set_epoch(3)
    key = stream_key(4, 3, LoadingStream.CROP)
    for images, _, index, _ in loader:
        for image, i in zip(images.float(), index.tolist(), strict=True):
            top, left, h, w = box(bits(key, i), height, width)
            columns = 4 * (left + (torch.arange(size) + 0.5) * w / size - 0.5)
            rows = 3 * (top + (torch.arange(size) + 0.5) * h / size - 0.5)
            assert (image[0].mean(0) - columns).abs().max() < 4
            assert (image[1].mean(1) - rows).abs().max() < 3


def test_evaluation_takes_the_central_crop(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[4:60, 4:60] = 200  # 56 = 224/256 of 64
    write_beton([(image, 0)], tmp_path / "centre.beton")
    ((images, *_),) = FFCVLoader(tmp_path / "centre.beton", SequentialShard(1, 1, 0, 1), image_size=28)
    assert images.shape == (1, 3, 28, 28)
    assert (images == 200).all()


def test_photographs_are_read_at_the_size_asked_for(real_images, tmp_path):
    source = open_images(real_images / "imagenet-sample.zip")
    out = tmp_path / "photographs.beton"
    write_beton([source[i] for i in range(0, 500, 25)], out, max_side=300)
    (images, labels, _, _) = next(iter(FFCVLoader(out, SequentialShard(20, 20, 0, 1), image_size=128)))
    assert images.shape == (20, 3, 128, 128)
    assert labels.tolist() == list(range(0, 500, 25))
    assert images.float().std(dim=(1, 2, 3)).min() > 10
