"""Random examples that replace a missing public dataset in a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from sadp_dist.data.config import DataConfig
from sadp_dist.data.registry import DATASETS
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.training.datasets import TrainingData
from sadp_dist.training.processes import Process


def random_data(config: DataConfig, seed: int, process: Process, time_steps: int) -> TrainingData:
    """Return random data with the size, classes and shape of the configured public dataset.

    Args:
        config: the ``data:`` section, with a `dataset`.
        seed: of the labels.
        process: this rank.
        time_steps: T of the network, and of sequences.

    Raises:
        UsageError: the dataset is registered without its size, classes or shape.
    """
    dataset = DATASETS[str(config.dataset)]
    side = config.image_size
    shape = (
        (3, side, side) if dataset.kind == "images" else dataset.shape and (time_steps, *dataset.shape[1:])
    )
    classes = config.classes or dataset.classes
    if shape is None or classes is None or dataset.train is None:
        raise UsageError(
            f"data.train={config.train!r} or data.test={config.test!r} does not exist, and dataset "
            f"{dataset.name} says nothing of its size; a dry run needs its files"
        )
    labels = np.random.default_rng(seed).integers(classes, size=dataset.train)
    on_device = torch.from_numpy(labels).to(process.device)

    def no_test() -> NoReturn:
        raise UsageError(f"the examples of {dataset.name} are random; there is no test set")

    return TrainingData(
        config=config,
        labels=labels,
        classes=classes,
        shape=shape,
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: RandomBatches(sampler, shape, on_device),
        test_loader=no_test,
    )


class RandomBatches:
    """A loader of a sampler's examples, with uint8 noise as images or frames.

    Args:
        sampler: of a run.
        shape: of an example.
        labels: (N,) int64, on the device of the batches.
    """

    def __init__(self, sampler: PruningSampler, shape: tuple[int, ...], labels: Tensor) -> None:
        self.sampler = sampler
        self.shape = shape
        self.labels = labels

    def begin(self) -> None:
        """There is nothing to read in advance."""

    def crop_to(self, image_size: int, smallest: float) -> None:
        """They are not cropped."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        device, sizes = self.labels.device, self.sampler.batch_sizes.tolist()
        highest = 256 if len(self.shape) == 3 else 2  # most cells of frames hold no event, or one
        indices = torch.from_numpy(self.sampler.indices).split(sizes)
        weights = torch.from_numpy(self.sampler.position_weights).to(device).split(sizes)
        for some, of_some in zip(indices, weights, strict=True):
            noise = torch.randint(highest, (len(some), *self.shape), dtype=torch.uint8, device=device)
            yield noise, self.labels[some.to(device)], some, of_some
