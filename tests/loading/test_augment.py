"""Keyed augmentation: what a reference does pixel by pixel, the same for the same (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare

from sadp_dist.errors import UsageError
from sadp_dist.loading import pad_crop_flip
from sadp_dist.loading.augment import _bits
from sadp_dist.selection.random import bits, stream_key

COUNT, SIZE, PADDING = 400, 12, 3
INDEX = torch.arange(COUNT) * 7919 + 2**33


@pytest.fixture(scope="module")
def images():
    """Every pixel of an image is different, and none is zero."""
    pixels = torch.stack([torch.randperm(255)[: SIZE * SIZE] + 1 for _ in range(2 * COUNT)])
    return pixels.to(torch.uint8).view(COUNT, 2, SIZE, SIZE)


def test_the_random_bits_are_those_of_selection():
    keys = [0, 5, 2**63, 2**64 - 1, int(stream_key(1, 2, 3))]
    index = [0, 1, 7, 2**40, 2**62]
    for key in keys:
        drawn = [int(b) % 2**64 for b in _bits(torch.tensor(index), key)]
        assert drawn == [int(bits(np.uint64(key), i)) for i in index]


def test_every_image_is_a_crop_of_its_padded_self_half_of_them_mirrored(images):
    augmented = pad_crop_flip(images, INDEX, epoch=4, seed=1, padding=PADDING)
    assert (augmented.dtype, augmented.shape) == (images.dtype, images.shape)
    places, mirrored = [], []
    for image, result in zip(F.pad(images, (PADDING,) * 4), augmented, strict=True):
        found = [
            (top, left, flip)
            for top in range(2 * PADDING + 1)
            for left in range(2 * PADDING + 1)
            for flip in (False, True)
            if torch.equal(result.flip(2) if flip else result, image[:, top : top + SIZE, left : left + SIZE])
        ]
        assert len(found) == 1
        places.append(found[0][0] * (2 * PADDING + 1) + found[0][1])
        mirrored.append(found[0][2])
    assert chisquare(np.bincount(places, minlength=(2 * PADDING + 1) ** 2)).pvalue > 1e-4
    assert 0.4 < np.mean(mirrored) < 0.6


def test_an_example_is_augmented_the_same_in_any_batch_and_otherwise_in_another_epoch(images):
    options = {"padding": PADDING, "cutout": 5}
    whole = pad_crop_flip(images, INDEX, epoch=2, seed=0, **options)
    some = torch.randperm(COUNT)[:50]
    assert torch.equal(pad_crop_flip(images[some], INDEX[some], epoch=2, seed=0, **options), whole[some])
    alone = pad_crop_flip(images[7:8], INDEX[7:8], epoch=2, seed=0, **options)
    assert torch.equal(alone, whole[7:8])
    for other in ({"epoch": 3, "seed": 0}, {"epoch": 2, "seed": 1}):
        changed = pad_crop_flip(images, INDEX, **other, **options) != whole
        assert changed.flatten(1).any(1).float().mean() > 0.95


def test_the_memory_format_and_dtype_change_nothing(images):
    expected = pad_crop_flip(images, INDEX, 0, 0, padding=PADDING, cutout=4)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(pad_crop_flip(channels_last, INDEX, 0, 0, padding=PADDING, cutout=4), expected)
    assert torch.equal(
        pad_crop_flip(images.float(), INDEX, 0, 0, padding=PADDING, cutout=4), expected.float()
    )


def test_cutout_blanks_one_square_that_may_reach_over_the_border(images):
    side = 5
    blank = (pad_crop_flip(images, INDEX, 0, 0, padding=0, flip=False, cutout=side) == 0).all(1)
    assert torch.equal(blank, (pad_crop_flip(images, INDEX, 0, 0, 0, False, side) != images).any(1))
    heights, widths = blank.any(2).sum(1), blank.any(1).sum(1)
    assert torch.equal(blank.flatten(1).sum(1), heights * widths)
    assert (heights.max(), widths.max()) == (side, side)
    assert heights.min() == widths.min() == side // 2 + 1
    centre_rows = blank[:, SIZE // 2, :].any(1).float().mean()
    assert abs(centre_rows - side / SIZE) < 0.1


def test_nothing_to_do_changes_nothing(images):
    assert torch.equal(pad_crop_flip(images, INDEX, 0, 0, padding=0, flip=False), images)


def test_images_may_be_oblong(images):
    oblong = images[:, :, :5]
    flipped = pad_crop_flip(oblong, INDEX, 0, 0, padding=0)
    assert {True, False} == {torch.equal(a, b) for a, b in zip(flipped, oblong, strict=True)}
    assert pad_crop_flip(oblong, INDEX, 0, 0, padding=2, cutout=3).shape == oblong.shape


def test_shapes_that_do_not_fit_are_one_line(images):
    with pytest.raises(UsageError, match=r"^images \(400, 2, 12, 12\), index \(3,\): expected"):
        pad_crop_flip(images, INDEX[:3], 0, 0)
    with pytest.raises(UsageError, match=r"^padding=-1, cutout=0: must be at least 0$"):
        pad_crop_flip(images, INDEX, 0, 0, padding=-1)
