"""A random resized crop for `TorchLoader`, whose size and smallest area may differ between epochs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from torchvision.transforms import v2

from sadp_dist.loading.epoch_loader import SMALLEST_CROP


@dataclass(frozen=True)
class RandomCrop:
    """torchvision's RandomResizedCrop with a square output.

    Attributes:
        image_size: height and width, in pixels.
        smallest: the smallest share of an image's area that a crop has.
    """

    image_size: int
    smallest: float = SMALLEST_CROP

    def __call__(self, image: Any) -> Any:
        return _transform(self)(image)


@cache
def _transform(crop: RandomCrop) -> v2.Transform:
    return v2.RandomResizedCrop((crop.image_size, crop.image_size), scale=(crop.smallest, 1.0))
