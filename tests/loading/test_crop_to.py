"""Random crops whose size and smallest area differ between epochs, with one compilation for each size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba.core import event

pytest.importorskip("ffcv")

from sadp_dist.data import open_images
from sadp_dist.loading import FFCVLoader, RandomCrop, SequentialShard, TorchLoader, write_beton

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """Pictures whose pixels say in which row they are, so that a crop shows its height."""
    images = []
    for i in range(40):
        rows = np.linspace(0, 255, 48 + i).astype(np.uint8)
        images.append((np.broadcast_to(rows[:, None, None], (48 + i, 64, 3)).copy(), i % 3))
    path = tmp_path_factory.mktemp("gradients") / "gradients.beton"
    write_beton(images, path, image_format="raw", workers=1)
    return path


class Crops(SequentialShard):
    """All examples of a training epoch, in order."""

    epoch = 0


def heights(batches) -> torch.Tensor:
    """The share of each image's height that its crop has, roughly."""
    images = torch.cat([images for images, *_ in batches]).float()
    return (images.amax((1, 2, 3)) - images.amin((1, 2, 3))) / 255


@pytest.mark.parametrize("os_cache", [True, False])
def test_the_ffcv_loader_compiles_once_per_size(gradients, os_cache):
    crops = Crops(40, 16, 0, 1)
    loader = FFCVLoader(gradients, crops, image_size=32, random_crop=True, seed=3, os_cache=os_cache)
    first = list(loader)
    loader.crop_to(16, smallest=1.0)
    small = list(loader)
    assert {images.shape[1:] for images, *_ in small} == {(3, 16, 16)}
    assert heights(small).min() > 0.8 > heights(first).min()
    with event.install_recorder("numba:compile") as compiled:
        loader.crop_to(32)
        again = list(loader)
        loader.crop_to(16)
        assert heights(loader).min() < 0.8
    assert not compiled.buffer
    assert all(torch.equal(one, other) for one, other in zip(first[0], again[0], strict=True))


def test_a_loader_that_does_not_crop_stays_as_it_is(digits_beton):
    loader = FFCVLoader(digits_beton, SequentialShard(500, 100, 0, 1))
    loader.crop_to(4)
    assert next(iter(loader))[0].shape[1:] == (3, 16, 16)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_torch_loaders_workers_hear_of_another_size(digits, workers):
    images = open_images(digits)
    shard = SequentialShard(len(images), 64, 0, 1)
    loader = TorchLoader(images, shard, num_workers=workers, transform=RandomCrop(8), seed=1)
    first = next(iter(loader))[0]
    for size, smallest in ((5, 0.9), (8, 0.08)):
        loader.crop_to(size, smallest)
        batch = next(iter(loader))[0]
        assert batch.shape[1:] == (3, size, size)
    assert torch.equal(batch, first)
