"""Data of a run: training and test batches, augmentation and normalisation on the device."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sadp_dist.data.config import DataConfig
from sadp_dist.data.fingerprints import fingerprints_of
from sadp_dist.data.image_source import in_words
from sadp_dist.data.registry import DATASETS, how_to_get
from sadp_dist.errors import UsageError
from sadp_dist.loading import PageOrder, PruningSampler, SequentialShard, TorchLoader, pad_crop_flip
from sadp_dist.loading.augment import resized
from sadp_dist.training.class_names import check_class_names
from sadp_dist.training.processes import Process
from sadp_dist.training.sequences import check_sequences, merged, time_first

if TYPE_CHECKING:
    from sadp_dist.data import Examples


class Batches(Protocol):
    """The batches of an epoch.

    A batch has images (B, C, H, W) uint8 or sequences (B, T, ...), labels (B,), indices (B,) and weights
    (B,).
    """

    def begin(self) -> None:
        """Start reading the epoch of the next iteration."""
        ...

    def crop_to(self, image_size: int, smallest: float) -> None:
        """Crop the images of later epochs to a size, if they are cropped at random: `EpochLoader.crop_to`."""
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
        class_names: the names of the classes, by label; None if one of the two has none.
        fingerprints: returns the fingerprints by kind of "train" and "test", see `data_fingerprints`; for a
            large folder this takes a while.
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
    class_names: tuple[str, ...] | None = None
    fingerprints: Callable[[], dict[str, dict[str, str]]] = dict

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

    def augment(
        self,
        images: Tensor,
        indices: Tensor,
        epoch: int,
        image_size: int | None = None,
        strength: float = 1.0,
    ) -> Tensor:
        """Return the images after the configured crop, flip, AutoAugment policy and cutout.

        Random numbers depend on (seed, epoch, index) only. Cutout is after the policy, which could move its
        square or change its colour.

        Args:
            images: (B, C, H, W) uint8, or sequences.
            indices: (B,) the index of each example.
            epoch: of the run.
            image_size: height and width of the result in pixels; None: of the images. The result is resized
                last, float32 if its size differs.
            strength: factor of the padding, the cutout and the probabilities of a policy, in [0, 1].
        """
        config, key = self.config, (indices, epoch, self.seed)
        # A loader that crops may have images of the size already.
        scale = strength * images.shape[-1] / self.image_size
        cutout = round(scale * config.cutout) if config.augment != "none" else 0
        if config.augment != "none":
            # The loader crops for "resized-crop".
            padding = round(strength * config.padding) if config.augment == "crop" else 0
            now = cutout if config.autoaugment is None else 0
            images = pad_crop_flip(images, *key, padding, config.flip, now)
        if config.autoaugment is not None:
            from sadp_dist.loading import auto_augment

            images = auto_augment(images, *key, config.autoaugment, strength)
            if cutout > 0:
                images = pad_crop_flip(images, *key, padding=0, flip=False, cutout=cutout)
        return images if image_size is None else resized(images, image_size)

    def normalise(self, images: Tensor, time_steps: int | None = None) -> Tensor:
        """Return the network's input as float32.

        Images (B, C, H, W) become (x - mean) / std per channel. Sequences (B, T, ...) become [T, B, ...] with
        the same values, or [time_steps, B, ...] with the means of as many groups of steps.
        """
        if len(self.shape) != 3:
            return merged(time_first(images), time_steps or self.shape[0])
        mean, std = self._moments
        return images.float().sub_(mean).div_(std)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the channels, on the device."""
        mean, std = (
            torch.tensor(for_channels(name, getattr(self.config, name), self.channels), device=self.device)
            for name in ("mean", "std")
        )
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)


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
            raise UsageError(
                f"data.{name}={str(path)!r} does not exist; {_how_to_get(config, name, time_steps)}"
            )
    if config.autoaugment is not None:
        _need_torchvision(f"data.autoaugment={config.autoaugment}")
    if config.loader == "ffcv":
        return _open_betons(config, batch_size, seed, process, time_steps)
    if config.dataset is not None and DATASETS[config.dataset].kind != "images":
        return _open_sequences(config, batch_size, seed, process, time_steps)
    return _open_images(config, batch_size, seed, process)


def _how_to_get(config: DataConfig, split: str, time_steps: int) -> str:
    """Return how to get a missing file, as part of a message."""
    if config.dataset is None:
        return "write .beton files with sadp-dist beton"
    dataset = DATASETS[config.dataset]
    if config.loader == "torch":
        return how_to_get(dataset)
    command = f"sadp-dist beton SOURCE {getattr(config, split)} --dataset {dataset.name} --split {split}"
    if dataset.takes_time_steps and (dataset.shape is None or dataset.shape[0] != time_steps):
        command += f" --time-steps {time_steps}"
    for option in sorted(config.own_options().keys() & config.model_fields_set):
        command += f" --option {shlex.quote(f'{option}={getattr(config, option)}')}"
    return f"{how_to_get(dataset)}; then: {command}"


def _open_betons(
    config: DataConfig, batch_size: int, seed: int, process: Process, time_steps: int
) -> TrainingData:
    from sadp_dist.loading import (
        FFCVLoader,
        beton_classes,
        beton_fingerprints,
        beton_labels,
        beton_pages,
        beton_shape,
    )

    train_labels, test_labels = beton_labels(config.train), beton_labels(config.test)
    names = check_class_names(config, beton_classes(config.train), beton_classes(config.test))
    shape = _beton_shape(config, time_steps)
    images = beton_shape(config.train) is None  # and not arrays
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
        classes=_count_classes(config, names, train_labels, test_labels),
        class_names=names,
        shape=shape,
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: loader(config.train, sampler, resized, os_cache=order is None),
        test_loader=lambda: test,
        page_order=order,
        fingerprints=lambda: {
            "train": beton_fingerprints(config.train),
            "test": beton_fingerprints(config.test),
        },
    )


def _beton_shape(config: DataConfig, time_steps: int) -> tuple[int, ...]:
    """Return the shape of the examples of both files, and check that it agrees with the configuration."""
    from sadp_dist.loading import beton_holds_planes, beton_image_sizes, beton_shape

    train, test = beton_shape(config.train), beton_shape(config.test)
    for path, shape in ((config.train, train), (config.test, test)):
        if shape is not None and beton_holds_planes(path):
            _check_planes(config, path, shape)
        elif shape is not None:
            check_sequences(config, path, shape, time_steps)
        elif config.augment != "resized-crop":
            _check_image_sizes(path, beton_image_sizes(path), config.image_size)
    if train != test:
        kinds = ("images" if shape is None else f"arrays of {shape}" for shape in (train, test))
        raise UsageError("data.train has {}, but data.test has {}; both must be the same".format(*kinds))
    shape = train or (3, config.image_size, config.image_size)
    if len(shape) == 3:
        _check_channels(config, shape[0])
    return shape


def _check_planes(config: DataConfig, path: str, shape: tuple[int, ...]) -> None:
    """Check grey or RGBA images, which are stored as arrays (C, H, W)."""
    _check_image_sizes(path, [(shape[1], shape[2])], config.image_size, advice="")
    if config.augment == "resized-crop":
        raise UsageError(
            f"data.augment=resized-crop needs RGB images, but {path} has {shape[0]} channel(s); write it "
            "with --channels 3, or set data.augment=crop"
        )


def _check_channels(config: DataConfig, channels: int) -> None:
    """Refuse options that do not go with the number of channels of the images."""
    for name in ("mean", "std"):
        for_channels(name, getattr(config, name), channels)
    if config.autoaugment is not None and channels != 3:
        raise UsageError(
            f"data.autoaugment={config.autoaugment} needs RGB images, but these have {channels} channel(s); "
            "remove data.autoaugment"
        )


def for_channels(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Return `data.mean` or `data.std` with a value for each channel.

    Raises:
        UsageError: it has another number of values, which are not all equal.
    """
    if len(values) == channels:
        return values
    if len(set(values)) == 1:
        return values[:1] * channels
    raise UsageError(
        f"data.{name} has {len(values)} values, but the images have {channels} channel(s); give {channels}, "
        "or one for all"
    )


def _open_sequences(
    config: DataConfig, batch_size: int, seed: int, process: Process, time_steps: int
) -> TrainingData:
    train = open_source(config, "train", time_steps)
    test_examples = open_source(config, "test", time_steps)
    shape, test_shape = (_shape_of(config, examples, time_steps) for examples in (train, test_examples))
    if shape != test_shape:
        raise UsageError(
            f"data.train has arrays of {shape}, but data.test of {test_shape}; both must be the same"
        )
    names = check_class_names(config, train.classes, test_examples.classes)

    def loader(examples: Examples, sampler: PruningSampler | SequentialShard) -> Batches:
        return TorchLoader(examples, sampler, num_workers=config.workers, device=process.device, seed=seed)

    test = loader(test_examples, _test_shard(len(test_examples), batch_size, process))
    return TrainingData(
        config=config,
        labels=train.labels,
        classes=_count_classes(config, names, train.labels, test_examples.labels),
        class_names=names,
        shape=shape,
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: loader(train, sampler),
        test_loader=lambda: test,
        fingerprints=lambda: {"train": fingerprints_of(train), "test": fingerprints_of(test_examples)},
    )


def _shape_of(config: DataConfig, sequences: Examples, time_steps: int) -> tuple[int, ...]:
    """Return the shape of the first example, and check that it agrees with the configuration."""
    if len(sequences) == 0:
        raise UsageError(f"{sequences.name} has no examples; give another source or split")
    shape: tuple[int, ...] = np.shape(sequences[0][0])
    check_sequences(config, sequences.name, shape, time_steps)
    return shape


def _open_images(config: DataConfig, batch_size: int, seed: int, process: Process) -> TrainingData:
    _need_torchvision("data.loader=torch")
    from torchvision.transforms import v2

    from sadp_dist.loading.random_crop import RandomCrop

    train = open_source(config, "train")
    test_images = open_source(config, "test")
    names = check_class_names(config, train.classes, test_images.classes)
    if config.dataset is None and process.is_first:
        _warn_of_left_out(config, "train", train)
        _warn_of_left_out(config, "test", test_images)
    _check_channels(config, config.channels)
    side = (config.image_size, config.image_size)
    if config.augment == "resized-crop":
        train_transform: Callable[[Any], Any] = RandomCrop(config.image_size)
        test_transform = v2.Compose([v2.Resize(round(config.image_size * 256 / 224)), v2.CenterCrop(side)])
    else:
        train_transform = test_transform = v2.Resize(side)  # no change for images of this size

    def loader(
        images: Examples, sampler: PruningSampler | SequentialShard, transform: Callable[[Any], Any]
    ) -> Batches:
        return TorchLoader(
            images, sampler, num_workers=config.workers, transform=transform, device=process.device, seed=seed
        )

    test = loader(test_images, _test_shard(len(test_images), batch_size, process), test_transform)
    return TrainingData(
        config=config,
        labels=train.labels,
        classes=_count_classes(config, names, train.labels, test_images.labels),
        class_names=names,
        shape=(config.channels, *side),
        seed=seed,
        device=process.device,
        train_loader=lambda sampler: loader(train, sampler, train_transform),
        test_loader=lambda: test,
        fingerprints=lambda: {"train": fingerprints_of(train), "test": fingerprints_of(test_images)},
    )


def open_source(
    config: DataConfig, role: Literal["train", "test"], time_steps: int | None = None
) -> Examples:
    """Open the training or test examples of a configuration whose loader is not FFCV.

    Args:
        config: the ``data:`` section.
        role: which of them.
        time_steps: T of the network; events become as many frames. None: as many as the dataset has.

    Raises:
        UsageError: they do not exist or cannot be read.
    """
    from sadp_dist.data import open_dataset, open_images

    source, split = getattr(config, role), getattr(config, f"{role}_split")
    if config.dataset is None:
        return open_images(
            source,
            split,
            channels=config.channels,
            image_column=config.image_column,
            label_column=config.label_column,
        )
    for key in ("channels", "image_column", "label_column"):
        if getattr(config, key) not in (3, None):
            raise UsageError(
                f"data.{key}={getattr(config, key)} is for images of your own; remove it with data.dataset"
            )
    options = config.own_options()
    if DATASETS[config.dataset].takes_time_steps:
        options.setdefault("time_steps", time_steps)
    return open_dataset(config.dataset, source, split or role, verify=False, **options)


def _warn_of_left_out(config: DataConfig, role: str, images: Examples) -> None:
    """Warn once of files of a source that are not read."""
    found = in_words(getattr(images, "left_out", {}))
    if found:
        path, split = getattr(config, role), getattr(config, f"{role}_split")
        command = f"sadp-dist beton {path}{f' --split {split}' if split else ''} --dry-run"
        warnings.warn(f"data.{role}={path!r}: left out: {found}; for the names: {command}", stacklevel=2)


def _need_torchvision(what: str) -> None:
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} needs torchvision; install it with: pip install torchvision") from error


def _check_image_sizes(
    path: str,
    sizes: list[tuple[int, int]],
    image_size: int,
    advice: str = ", or data.augment=resized-crop",
) -> None:
    for height, width in sizes:
        if not height == width == image_size:
            raise UsageError(
                f"data.image_size={image_size}, but {path} has images of {height} x {width}; "
                f"set data.image_size to that size{advice}"
            )


def _count_classes(
    config: DataConfig, names: Sequence[str] | None, train: NDArray[np.int64], test: NDArray[np.int64]
) -> int:
    """Return the number of classes: configured, of the dataset, of names, or the largest training label + 1.

    Raises:
        UsageError: a label is not below it.
    """
    known = DATASETS[config.dataset].classes if config.dataset else len(names or ())
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
