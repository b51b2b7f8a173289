"""Images in the device's memory as the data of a run, and generated ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sadp_dist.loading import PruningSampler, SequentialShard
from sadp_dist.selftest.setting import Setting
from sadp_dist.training.config import TrainConfig, parse_config
from sadp_dist.training.datasets import TrainingData

CLASSES = 10
Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (N, 3, H, W) and labels (N,)."""


def generated(size: int, side: int, seed: int) -> Labelled:
    """Return noise over a pattern for each class, which a network learns quickly."""
    patterns = np.random.default_rng(0).integers(0, 256, (CLASSES, 3, 4, 4), np.uint8)
    rng = np.random.default_rng([1, seed])
    labels = rng.integers(CLASSES, size=size)
    cells = np.arange(side) * 4 // side
    shown = patterns[labels][:, :, cells[:, None], cells]
    return shown // 2 + rng.integers(0, 128, (size, 3, side, side), np.uint8), labels


def run_config(name: str, output: Any, side: int, **sections: Any) -> TrainConfig:
    """Return the configuration of a run on images in memory.

    The sections replace keys; one that names a method replaces the whole section.
    """
    raw: dict[str, Any] = {
        "name": name,
        "output": str(output),
        "data": {"train": "memory", "test": "memory", "image_size": side, "classes": CLASSES},
        "network": {"name": "small_cnn", "time_steps": 2},
        "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.05},
        "pruning": {"ratio": 0.5, "max_ratio": 0.7},
        "tracking": {"trackers": []},
    }
    for key, value in sections.items():
        whole = not isinstance(value, dict) or "method" in value
        raw[key] = value if whole else {**raw.get(key, {}), **value}
    return parse_config(raw)


def in_precision(precision: str, setting: Setting) -> dict[str, Any]:
    """Return settings of training in "bf16" or "fp16".

    In these, a CPU's convolutions take ten times as long without channels_last.
    """
    return {"precision": precision, "channels_last": not setting.on_gpu}


def in_memory(config: TrainConfig, device: torch.device, train: Labelled, test: Labelled) -> TrainingData:
    """Return the data of a run whose images are in the device's memory."""
    size = config.training.batch_size // config.training.accumulate
    images, labels = (torch.from_numpy(array).to(device) for array in train)
    of_test = [torch.from_numpy(array).to(device) for array in test]
    sequence = SequentialShard(len(test[1]), size, rank=0, world_size=1)
    return TrainingData(
        config=config.data,
        labels=train[1],
        classes=CLASSES,
        shape=train[0].shape[1:],
        seed=config.seed,
        device=device,
        train_loader=lambda sampler: MemoryBatches(sampler, images, labels),
        test_loader=lambda: MemoryBatches(sequence, of_test[0], of_test[1]),
    )


@dataclass(frozen=True)
class MemoryBatches:
    """A loader of a sampler's examples, whose images (N, 3, H, W) and labels are on the device."""

    sampler: PruningSampler | SequentialShard
    images: Tensor
    labels: Tensor

    def begin(self) -> None:
        """There is nothing to read in advance."""

    def crop_to(self, image_size: int, smallest: float) -> None:
        """They are not cropped."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        device, size = self.images.device, self.sampler.batch_size
        indices = torch.from_numpy(self.sampler.indices.copy())
        chosen = indices.to(device)
        weights = torch.from_numpy(self.sampler.position_weights).to(device)
        for start in range(0, len(indices), size):
            batch = slice(start, start + size)
            some = chosen[batch]
            yield self.images[some], self.labels[some], indices[batch], weights[batch]
