"""AutoAugment (Cubuk et al., arXiv:1805.09501) of a batch on its device, keyed by (seed, epoch, index).

The policies and operations are torchvision's. The random numbers are drawn on the CPU, where the index is,
and constants are sent to the device, so nothing waits for it.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torchvision.transforms import v2

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.selection.random import uniform

Policy = Literal["cifar10", "imagenet"]
POLICIES = ("cifar10", "imagenet")
GREY = [128.0]
"""Value of pixels from outside the image, as in the authors' code: near the mean."""
BINS = 10
DRAWS = 5
"""Random numbers per example: its sub-policy, whether each of two operations is applied, and their signs."""

Operation = tuple[str, int | None, bool]
"""Name, bin of the magnitude (None if it has no magnitude), whether the magnitude is negative."""


def auto_augment(
    images: Tensor, index: Tensor, epoch: int, seed: int, policy: Policy = "cifar10", strength: float = 1.0
) -> Tensor:
    """Apply one of the policy's 25 sub-policies to each image, chosen at random.

    A sub-policy has two operations, each applied with its own probability. A signed magnitude is positive or
    negative with probability 1/2. Images with the same operation are processed together.

    Args:
        images: (B, 3, H, W) or (B, 1, H, W) uint8, any device.
        index: integers (B,), the index of each example, on the CPU; on a device this waits for it.
        epoch: the epoch, part of the key of the random numbers.
        seed: the seed, part of the key.
        policy: "cifar10" or "imagenet", the dataset for which the policy was found.
        strength: factor of the probabilities of all operations, in [0, 1].

    Returns:
        uint8, with the images' shape and device.

    Raises:
        UsageError: a shape or dtype is wrong, or the policy is unknown.
    """
    check_choice("policy", policy, POLICIES)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != torch.uint8:
        got = f"{images.dtype} {tuple(images.shape)}"
        raise UsageError(f"images {got}: expected torch.uint8 (B, C, H, W) with 1 or 3 channels")
    if index.shape != images.shape[:1]:
        raise UsageError(f"index {tuple(index.shape)}: expected ({len(images)},)")
    found = _policy(policy)
    for operations in found.draw(index.cpu().numpy(), epoch, seed, strength):
        images = found.apply(images, operations)
    return images


class KeyedAutoAugment(v2.AutoAugment):  # type: ignore[misc]
    """torchvision's policies and operations, with keyed random numbers.

    Attributes:
        operations: the policy's operations, each once; the first does nothing.
        numbers: (2, 25, 2), the number in ``operations`` for each step, sub-policy and sign.
        probabilities: (2, 25), the probability of applying each step of each sub-policy.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(v2.AutoAugmentPolicy(policy), fill=GREY)
        signed = {name: has_sign for name, (_, has_sign) in self._AUGMENTATION_SPACE.items()}
        self.operations: list[Operation] = [("Identity", None, False)]
        self.numbers = np.zeros((2, len(self._policies), 2), np.int64)
        self.probabilities = np.zeros((2, len(self._policies)))
        for which, sub_policy in enumerate(self._policies):
            for step, (name, probability, magnitude) in enumerate(sub_policy):
                self.probabilities[step, which] = probability
                for negative in (0, 1):
                    operation = (name, magnitude, bool(negative and signed[name]))
                    if operation not in self.operations:
                        self.operations.append(operation)
                    self.numbers[step, which, negative] = self.operations.index(operation)

    def draw(self, index: np.ndarray, epoch: int, seed: int, strength: float = 1.0) -> np.ndarray:
        """Return the numbers of the two operations that each example gets, int64 (2, B)."""
        numbers = index.astype(np.int64)[:, None] * DRAWS + np.arange(DRAWS)
        which, *draws = uniform(seed, epoch, numbers, LoadingStream.AUTOAUGMENT).T
        sub_policy = (which * len(self._policies)).astype(np.int64)
        return np.stack(
            [
                np.where(
                    draws[step] < strength * self.probabilities[step, sub_policy],
                    self.numbers[step, sub_policy, (draws[2 + step] < 0.5).astype(np.int64)],
                    0,
                )
                for step in (0, 1)
            ]
        )

    def apply(self, images: Tensor, operations: np.ndarray) -> Tensor:
        """Apply to each image the operation with the given number; ``operations`` is (B,)."""
        order = np.argsort(operations, kind="stable")
        numbers, counts = np.unique(operations, return_counts=True)
        groups = images[_to(order, images)].split(counts.tolist())
        done = [self.operate(group, int(number)) for group, number in zip(groups, numbers, strict=True)]
        return torch.cat(done or [images])[_to(np.argsort(order), images)]

    def operate(self, images: Tensor, number: int) -> Tensor:
        """Apply the operation with this number to all images (B, C, H, W)."""
        name, magnitude_bin, negative = self.operations[number]
        magnitude = 0.0
        if magnitude_bin is not None:
            magnitudes = self._AUGMENTATION_SPACE[name][0](BINS, *images.shape[2:])
            magnitude = float(magnitudes[magnitude_bin]) * (-1 if negative else 1)
        with nullcontext() if images.device.type == "cpu" else _ConstantsSent():
            changed: Tensor = self._apply_image_or_video_transform(
                images, name, magnitude, interpolation=self.interpolation, fill=self._fill
            )
        return changed


class _ConstantsSent(TorchFunctionMode):
    """Sends the constants of an operation to its device without waiting, as ``torch.tensor`` would."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = (kwargs or {}).get("device") if func is torch.tensor else None
        if device is None:
            return func(*args, **(kwargs or {}))
        return func(*args, **{**kwargs, "device": "cpu"}).to(device, non_blocking=True)


@cache
def _policy(policy: Policy) -> KeyedAutoAugment:
    return KeyedAutoAugment(policy)


def _to(numbers: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(images.device, non_blocking=True)
