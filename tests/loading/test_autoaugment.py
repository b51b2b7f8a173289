"""AutoAugment in batches: what Pillow does to one image at a time, drawn by (seed, epoch, index) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest, chisquare
from torch.overrides import TorchFunctionMode
from torchvision import transforms
from torchvision.transforms.autoaugment import _apply_op

from sadp_dist.errors import UsageError
from sadp_dist.loading.autoaugment import BINS, POLICIES, KeyedAutoAugment, auto_augment

COUNT = 60
ALL = {policy: KeyedAutoAugment(policy) for policy in POLICIES}
EVERY_OPERATION = [(policy, number) for policy in POLICIES for number in range(len(ALL[policy].operations))]


@pytest.fixture(scope="module")
def images():
    """Smooth ones, as photographs are, in some of which a channel has one value or two."""
    coarse = torch.rand(COUNT, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 255).byte()
    smooth[0, 0], smooth[1, 1], smooth[1, 1, :7] = 77, 3, 200
    return smooth


@pytest.mark.parametrize(("policy", "number"), EVERY_OPERATION)
def test_an_operation_does_what_pillow_does(images, policy, number):
    found = ALL[policy]
    name, magnitude_bin, negative = found.operations[number]
    space = transforms.AutoAugment()._augmentation_space(BINS, (32, 32))
    space["Identity"] = (torch.zeros(BINS), False)
    magnitudes, signed = space[name]
    assert signed or not negative
    magnitude = float(magnitudes[magnitude_bin]) if magnitude_bin is not None else 0.0
    magnitude = -magnitude if negative else magnitude
    some = images[:12]
    expected = []
    for image in some:
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
        done = _apply_op(pillow, name, magnitude, transforms.InterpolationMode.NEAREST, [128, 128, 128])
        expected.append(torch.from_numpy(np.array(done)).permute(2, 0, 1))
    difference = (found.operate(some, number).int() - torch.stack(expected).int()).abs()
    if name in ("ShearX", "ShearY", "Rotate"):  # a pixel's centre may fall on the border of two
        assert (difference > 0).float().mean() < 0.02
    else:  # Pillow rounds, or computes in another order
        inexact = ("AutoContrast", "Brightness", "Color", "Contrast", "Sharpness")
        assert difference.max() <= (1 if name in inexact else 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_sub_policy_operation_and_sign_comes_as_often_as_the_policy_says(policy):
    found = ALL[policy]
    examples = 60_000
    drawn = found.draw(np.arange(examples), epoch=3, seed=1)
    for step in (0, 1):
        expected = np.zeros(len(found.operations))
        for which, sub_policy in enumerate(
            transforms.AutoAugment()._get_policies(transforms.AutoAugmentPolicy(policy))
        ):
            name, probability, _ = sub_policy[step]
            expected[0] += (1 - probability) / 25
            for sign in (0, 1):
                number = found.numbers[step, which, sign]
                assert found.operations[number][0] == name
                expected[number] += probability / 25 / 2
        counts = np.bincount(drawn[step], minlength=len(expected))
        assert (counts[expected == 0] == 0).all()
        assert chisquare(counts[expected > 0], examples * expected[expected > 0]).pvalue > 1e-4


def test_the_two_operations_are_those_of_one_sub_policy_and_applied_independently_of_each_other():
    found = ALL["cifar10"]
    drawn = found.draw(np.arange(60_000), epoch=0, seed=0)
    pairs = {
        (int(first), int(second))
        for which in range(25)
        for first in (*found.numbers[0, which], 0)
        for second in (*found.numbers[1, which], 0)
    }
    assert set(zip(*drawn.tolist(), strict=True)) <= pairs
    # Rotate, 0.7, comes in the second sub-policy alone, whose other half is TranslateX, 0.3.
    rotated = np.isin(drawn[0], found.numbers[0, 1])
    moved = np.isin(drawn[1], found.numbers[1, 1]) & rotated
    assert binomtest(int(moved.sum()), int(rotated.sum()), 0.3).pvalue > 1e-4
    turned = drawn[0][moved] == found.numbers[0, 1, 1]
    left = drawn[1][moved] == found.numbers[1, 1, 1]
    assert binomtest(int((turned == left).sum()), int(moved.sum()), 0.5).pvalue > 1e-4


@given(
    cuts=st.lists(st.integers(0, COUNT), max_size=4),
    order=st.permutations(range(COUNT)),
    epoch=st.integers(0, 3),
    first=st.sampled_from([0, 2**33]),
)
@settings(max_examples=8)
def test_an_example_is_augmented_the_same_in_any_batch(images, cuts, order, epoch, first):
    order = torch.tensor(order)
    index = torch.arange(COUNT) * 3 + first
    whole = auto_augment(images, index, epoch, seed=5)
    parts = [
        auto_augment(images[some], index[some], epoch, seed=5) for some in order.tensor_split(sorted(cuts))
    ]
    assert torch.equal(torch.cat(parts), whole[order])


def test_another_epoch_seed_or_policy_augments_otherwise(images):
    index = torch.arange(COUNT)
    first = auto_augment(images, index, epoch=0, seed=0)
    assert first.dtype == torch.uint8
    assert (first != images).flatten(1).any(1).float().mean() > 0.6
    for epoch, seed, policy in ((1, 0, "cifar10"), (0, 1, "cifar10"), (0, 0, "imagenet")):
        other = auto_augment(images, index, epoch, seed, policy)
        assert (first != other).flatten(1).any(1).float().mean() > 0.6


def test_the_memory_format_changes_nothing_and_an_empty_batch_stays_empty(images):
    index = torch.arange(COUNT)
    expected = auto_augment(images, index, 0, 0)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(auto_augment(channels_last, index, 0, 0), expected)
    assert auto_augment(images[:0], index[:0], 0, 0).shape == (0, 3, 32, 32)


def test_what_cannot_be_augmented_is_refused(images):
    index = torch.arange(COUNT)
    for bad in (images.float(), images[0], images.repeat(1, 2, 1, 1)):
        with pytest.raises(UsageError, match=r"expected torch\.uint8 \(B, C, H, W\)"):
            auto_augment(bad, index[: len(bad)], 0, 0)
    with pytest.raises(UsageError, match=r"index \(59,\): expected \(60,\)"):
        auto_augment(images, index[1:], 0, 0)
    with pytest.raises(UsageError, match='did you mean "cifar10"'):
        auto_augment(images, index, 0, 0, policy="cifar100")


class _MadeOnDevice(TorchFunctionMode):
    """Counts the tensors that are made of Python numbers on a device, for which the host waits."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        device = (kwargs or {}).get("device")
        self.count += func is torch.tensor and device is not None and torch.device(device).type != "cpu"
        return func(*args, **(kwargs or {}))


def test_constants_are_made_on_the_cpu_and_sent():
    found = ALL["imagenet"]
    images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="meta")
    with _MadeOnDevice() as made:
        for number in range(len(found.operations)):
            assert found.operate(images, number).device.type == "meta"
        assert made.count == 0
        torch.tensor([0.5], device="meta")
        assert made.count == 1
