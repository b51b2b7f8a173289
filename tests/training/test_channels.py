"""Grey and RGBA images train with as many channels as they have; what needs RGB is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sadp_dist
from sadp_dist.data import DataConfig, open_images
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler, write_beton
from sadp_dist.training.config import parse_config
from sadp_dist.training.datasets import open_data
from sadp_dist.training.processes import Process
from sadp_dist.training.run import train


@pytest.fixture(scope="module")
def grey(few_digits, tmp_path_factory):
    """The few digits as grey images in .beton files."""
    folder = tmp_path_factory.mktemp("grey")
    for split in ("train", "test"):
        write_beton(few_digits["train"], folder / f"{split}.beton", split, channels=1, workers=1)
    return folder


def opened(folder, **data):
    paths = {split: str(folder / f"{split}.beton") for split in ("train", "test")}
    config = DataConfig(**{**paths, "image_size": 8, **data})
    return open_data(config, 32, 0, Process(0, 1, torch.device("cpu")), time_steps=2)


def test_grey_images_of_a_beton_reach_the_network_normalised(grey, few_digits):
    data = opened(grey, mean=[100.0], std=[50.0], augment="crop")
    assert (data.shape, data.channels, data.class_names) == ((1, 8, 8), 1, tuple("0123456789"))
    with sadp_dist.connect("memory:", "run", data.size, sadp_dist.PruningConfig(epochs=1)) as store:
        sampler = PruningSampler(store, batch_size=32)
        sampler.set_epoch(0)
        images, _, index, _ = next(iter(data.train_loader(sampler)))
    source = open_images(few_digits["train"], "train", channels=1)
    expected = np.stack([np.asarray(source[i][0])[None] for i in index.tolist()])
    assert np.array_equal(images.numpy(), expected)
    normalised = data.normalise(data.augment(images, index, 0))
    assert normalised.shape == (len(index), 1, 8, 8)
    assert torch.allclose(data.normalise(images), (torch.from_numpy(expected).float() - 100) / 50)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"mean": [1.0, 2.0, 3.0]},
            "^data.mean has 3 values, but the images have 1 channel.s.; give 1, or one",
        ),
        (
            {"augment": "resized-crop"},
            "^data.augment=resized-crop needs RGB images, but .*train.beton has 1 ch",
        ),
        (
            {"augment": "crop", "autoaugment": "cifar10"},
            "^data.autoaugment=cifar10 needs RGB images, but these",
        ),
        (
            {"image_size": 16},
            "^data.image_size=16, but .*train.beton has images of 8 x 8; set data.image_size to",
        ),
    ],
)
def test_what_needs_rgb_or_another_size_is_refused(grey, data, expected):
    with pytest.raises(UsageError, match=expected):
        opened(grey, **data)


def test_a_run_without_ffcv_reads_as_many_channels_as_it_says(recipe):
    config = parse_config(recipe("torch", data={"channels": 4}, training={"epochs": 1}))
    train(config, show=False)
    weights = torch.load(next(config.run_dir.glob("checkpoints/*/state.pt")), weights_only=True)["network"]
    first = next(weight for weight in weights.values() if weight.ndim == 4)
    assert first.shape[1] == 4
