"""Data of a run: training and test batches, augmentation and normalisation on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sadp_dist.data.registry import DATASETS, how_to_get
from sadp_dist.errors import UsageError
from sadp_dist.loading import PageOrder, PruningSampler, SequentialShard, TorchLoader, pad_crop_flip
from sadp_dist.training.config import DataConfig
from sadp_dist.training.processes import Process
from sadp_dist.training.sequences import check_sequences, time_first

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from sadp_dist.data import Examples


class Batches(Protocol):
    """The batches of an epoch.

    A batch has images (B, C, H, W) uint8 or sequences (B, T, ...), labels (B,), indices (B,) and weights
    (B,).
    """

    def begin(self) -> None:
        """Start reading the epoch of the next iteration."""
        ...

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]: ...


@dataclass(frozen=True)
class TrainingData:
    """The training and test data of a run, as the training loop uses them.

    Attributes:
        config: the ``data:`` section.
        labels: (N,) int64, the class of every training example.
        classes: number of classes.
        shape: shape of an example: (C, H, W) for images, (T, C, H, W) or (T, F) for sequences.
        seed: seed of the augmentation.
        device: where batches are computed.
        train_loader: returns the training batches that a sampler selects.
        test_loader: returns the batches of this rank's part of the test set.
        page_order: the sampler's order for training files that are larger than memory; None: any order.
    """

    config: DataConfig
    labels: NDArray[np.int64]
    classes: int
    shape: tuple[int, ...]
    seed: int
    device: torch.device
    train_loader: Callable[[PruningSampler], Batches]
    test_loader: Callable[[], Batches]
    page_order: PageOrder | None = None

    @property
    def size(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def channels(self) -> int:
        """C for images and frames, F for sequences of features."""
        return self.shape[-3] if len(self.shape) > 2 else self.shape[-1]

    @property
    def image_size(self) -> int:
        """Width and height in pixels; 1 for sequences of features."""
        return self.shape[-1] if len(self.shape) > 2 else 1

    def augment(self, images: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """Return the images after the configured crop, flip, AutoAugment policy and cutout.

        Random numbers depend on (seed, epoch, index) only. Cutout is last, because a policy could move its
        square or change its colour.
        """
        config, key = self.config, (indices, epoch, self.seed)
        cutout = config.cutout if config.augment != "none" else 0
        if config.augment != "none":
            # The loader crops for "resized-crop".
            padding = config.padding if config.augment == "crop" else 0
            now = cutout if config.autoaugment is None else 0
            images = pad_crop_flip(images, *key, padding, config.flip, now)
        if config.autoaugment is not None:
            from sadp_dist.loading import auto_augment

            images = auto_augment(images, *key, config.autoaugment)
            if cutout > 0:
                images = pad_crop_flip(images, *key, padding=0, flip=False, cutout=cutout)
        return images

    def normalise(self, images: Tensor) -> Tensor:
        """Return the network's input as float32.

        Images (B, C, H, W) become (x - mean) / std per channel. Sequences (B, T, ...) become [T, B, ...] with
        the same values.
        """
        if len(self.shape) != 3:
            return time_first(images)
        mean, std = self._moments
        return images.float().sub_(mean).div_(std)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the channels, on the device."""
        mean, std = (torch.tensor(of, device=self.device) for of in (self.config.mean, self.config.std))
        return mean.view(3, 1, 1), std.view(3, 1, 1)


def open_data(
    config: DataConfig, batch_size: int, seed: int, process: Process, time_steps: int
) -> TrainingData:
    """Open the training and test data of a run.

    Args:
        config: the ``data:`` section.
        batch_size: examples in a training batch of one rank.
        seed: seed of the augmentation.
        process: this rank.
        time_steps: T of the network.

    Raises:
        UsageError: a file is missing or has another format than the loader's; images do not have
            ``image_size``; sequences do not have T time steps; or a label is not below ``classes``.
    """
    for name in ("train", "test"):
        path = Path(getattr(config, name))
        if not path.exists():
            raise UsageError(f"data.{name}={str(path)!r} does not exist; {_how_to_write(config, name)}")
    if config.autoaugment is not None:
        _need_torchvision(f"data.autoaugment={config.autoaugment}")
    if config.loader == "ffcv":
        return _open_betons(config, batch_size, seed, process, time_steps)
    if config.dataset is not None and DATASETS[config.dataset].kind != "images":
        return _open_sequences(config, DATASETS[config.dataset].shape, batch_size, seed, process, time_steps)
    return _open_images(config, batch_size, seed, process)


def _how_to_write(config: DataConfig, split: str) -> str:
    if config.dataset is None:
        return "write .beton files with sadp-dist beton"
    command = f"sadp-dist beton SOURCE {getattr(config, split)} --dataset {config.dataset} --split {split}"
    return f"{how_to_get(DATASETS[config.dataset])}; then: {command}"


def _open_betons(
    config: DataConfig, batch_size: int, seed: int, process: Process, time_steps: int
) -> TrainingData:
    from sadp_dist.loading import FFCVLoader, beton_labels, beton_pages

    train_labels, test_labels = beton_labels(config.train), beton_labels(config.test)
    shape = _beton_shape(config, time_steps)
    images = len(shape) == 3
    resized = config.augment == "resized-crop"

    order = None
    if config.page_window is not None:
        order = PageOrder(beton_pages(config.train), config.page_window, seed)

    def loader(
        path: str, sampler: PruningSampler | SequentialShard, random_crop: bool, os_cache: bool = True
    ) -> Batches:
        return FFCVLoader(
            path,
            sampler,
            image_size=config.image_size if images else None,
            random_crop=random_crop,
            num_workers=max(config.workers, 1),
            device=process.device,
            seed=seed,
            os_cache=os_cache,
        )

    test = loader(config.test, _test_shard(len(test_labels), batch_size, process), random_crop=False)
    return TrainingData(
        config=config,
        labels=train_labels,
        classes=_count_classes(config, train_labels, test_labels),
        shape=shape,
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: loader(config.train, sampler, resized, os_cache=order is None),
        test_loader=lambda: test,
        page_order=order,
    )


def _beton_shape(config: DataConfig, time_steps: int) -> tuple[int, ...]:
    """Return the shape of the examples of both files, and check that it agrees with the configuration."""
    from sadp_dist.loading import beton_image_sizes, beton_shape

    train, test = beton_shape(config.train), beton_shape(config.test)
    for path, shape in ((config.train, train), (config.test, test)):
        if shape is not None:
            check_sequences(config, path, shape, time_steps)
        elif config.augment != "resized-crop":
            _check_image_sizes(path, beton_image_sizes(path), config.image_size)
    if train != test:
        kinds = ("images" if shape is None else f"arrays of {shape}" for shape in (train, test))
        raise UsageError("data.train has {}, but data.test has {}; both must be the same".format(*kinds))
    return train or (3, config.image_size, config.image_size)


def _open_sequences(
    config: DataConfig,
    shape: tuple[int, ...],
    batch_size: int,
    seed: int,
    process: Process,
    time_steps: int,
) -> TrainingData:
    train = _open_source(config, config.train, config.train_split, "train")
    test_examples = _open_source(config, config.test, config.test_split, "test")
    check_sequences(config, train.name, shape, time_steps)

    def loader(examples: Examples, sampler: PruningSampler | SequentialShard) -> Batches:
        return TorchLoader(examples, sampler, num_workers=config.workers, device=process.device, seed=seed)

    test = loader(test_examples, _test_shard(len(test_examples), batch_size, process))
    return TrainingData(
        config=config,
        labels=train.labels,
        classes=_count_classes(config, train.labels, test_examples.labels),
        shape=shape,
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: loader(train, sampler),
        test_loader=lambda: test,
    )


def _open_images(config: DataConfig, batch_size: int, seed: int, process: Process) -> TrainingData:
    _need_torchvision("data.loader=torch")
    from torchvision.transforms import v2

    train = _open_source(config, config.train, config.train_split, "train")
    test_images = _open_source(config, config.test, config.test_split, "test")
    if train.classes != test_images.classes:
        different = sorted(set(train.classes) ^ set(test_images.classes))
        raise UsageError(
            f"data.train and data.test have different classes ({', '.join(map(str, different))}); use two "
            "splits of one source"
        )
    side = (config.image_size, config.image_size)
    if config.augment == "resized-crop":
        train_transform = v2.RandomResizedCrop(side)
        test_transform = v2.Compose([v2.Resize(round(config.image_size * 256 / 224)), v2.CenterCrop(side)])
    else:
        train_transform = test_transform = v2.Resize(side)  # no change for images of this size

    def loader(
        images: Examples, sampler: PruningSampler | SequentialShard, transform: v2.Transform
    ) -> Batches:
        return TorchLoader(
            images, sampler, num_workers=config.workers, transform=transform, device=process.device, seed=seed
        )

    test = loader(test_images, _test_shard(len(test_images), batch_size, process), test_transform)
    return TrainingData(
        config=config,
        labels=train.labels,
        classes=_count_classes(config, train.labels, test_images.labels),
        shape=(3, *side),
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: loader(train, sampler, train_transform),
        test_loader=lambda: test,
    )


def _open_source(config: DataConfig, source: str, split: str | None, role: str) -> Examples:
    from sadp_dist.data import open_dataset, open_images

    if config.dataset is None:
        return open_images(source, split)
    return open_dataset(config.dataset, source, split or role, verify=False, **config.own_options())


def _need_torchvision(what: str) -> None:
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} needs torchvision; install it with: pip install torchvision") from error


def _check_image_sizes(path: str, sizes: list[tuple[int, int]], image_size: int) -> None:
    for height, width in sizes:
        if not height == width == image_size:
            raise UsageError(
                f"data.image_size={image_size}, but {path} has images of {height} x {width}; "
                "set data.image_size to that size, or data.augment=resized-crop"
            )


def _count_classes(config: DataConfig, train: NDArray[np.int64], test: NDArray[np.int64]) -> int:
    """Return the number of classes: the configured one, the dataset's, or the largest training label + 1.

    Raises:
        UsageError: a label is not below it.
    """
    known = DATASETS[config.dataset].classes if config.dataset else None
    classes = config.classes or known or int(train.max(initial=0)) + 1
    for name, labels in (("train", train), ("test", test)):
        highest = int(labels.max(initial=0))
        if highest >= classes:
            raise UsageError(
                f"data.classes={classes}, but data.{name} has the label {highest}; use at least {highest + 1}"
            )
    return classes


def _test_shard(size: int, batch_size: int, process: Process) -> SequentialShard:
    return SequentialShard(size, batch_size, rank=process.rank, world_size=process.world_size)
