"""What a run does to its training images, and in which order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sadp_dist.data import DataConfig
from sadp_dist.loading import auto_augment, pad_crop_flip
from sadp_dist.loading.autoaugment import _policy
from sadp_dist.training.datasets import TrainingData

INDEX = torch.arange(40) * 5
CROP = {"augment": "crop", "padding": 3}


@pytest.fixture(scope="module")
def images():
    drawn = torch.randint(1, 256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return drawn.to(torch.uint8)


def augmented(images, size=None, strength=1.0, **options):
    config = DataConfig(train="train.beton", test="test.beton", **options)
    labels = np.zeros(200, np.int64)
    data = TrainingData(
        config, labels, 10, (3, 32, 32), 7, torch.device("cpu"), lambda sampler: [], lambda: []
    )
    return data.augment(images, INDEX, 2, size, strength)


def test_images_are_cropped_then_changed_by_the_policy(images):
    cropped = pad_crop_flip(images, INDEX, 2, 7, padding=3)
    expected = auto_augment(cropped, INDEX, 2, 7, "imagenet")
    assert torch.equal(augmented(images, autoaugment="imagenet", **CROP), expected)


def test_the_blanked_square_is_where_it_is_without_a_policy_and_stays_blank(images):
    whole = augmented(images, autoaugment="cifar10", **CROP)
    cut = augmented(images, autoaugment="cifar10", cutout=8, **CROP)
    expected = augmented(torch.full_like(images, 9), augment="crop", padding=0, flip=False, cutout=8) == 0
    assert 0 < expected.sum() < expected.numel() / 4
    assert torch.equal(cut, whole.masked_fill(expected, 0))


def test_a_policy_needs_no_other_augmentation(images):
    expected = auto_augment(images, INDEX, 2, 7, "cifar10")
    assert torch.equal(augmented(images, autoaugment="cifar10"), expected)
    assert torch.equal(augmented(images), images)


def test_strength_0_is_no_augmentation_but_flips_and_a_half_is_half_of_it(images):
    options = {**CROP, "autoaugment": "cifar10", "cutout": 8}
    flipped = pad_crop_flip(images, INDEX, 2, 7, padding=0)
    assert torch.equal(augmented(images, strength=0.0, **options), flipped)
    half = {"augment": "crop", "padding": 2, "cutout": 4}  # round(1.5)
    assert torch.equal(
        augmented(images, strength=0.5, augment="crop", padding=3, cutout=8), augmented(images, **half)
    )
    numbers = np.arange(2000)
    drawn = [_policy("cifar10").draw(numbers, 0, 0, strength) for strength in (1.0, 0.5)]
    changed = [(each > 0).mean() for each in drawn]
    assert changed[1] == pytest.approx(changed[0] / 2, rel=0.1)


def test_a_smaller_image_is_the_augmented_one_resized(images):
    whole = augmented(images, **CROP)
    small = augmented(images, size=16, **CROP)
    assert small.shape == (40, 3, 16, 16)
    assert small.mean() == pytest.approx(whole.float().mean().item(), rel=0.01)
    assert small.std() < whole.float().std()  # pixels are averaged, not left out
    assert augmented(images, size=32, **CROP).dtype == torch.uint8
