"""Read a sampler's epochs from any map-style dataset, with `torch.utils.data.DataLoader`."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from sadp_dist.errors import UsageError
from sadp_dist.loading.epoch_loader import SMALLEST_CROP, Batch, EpochLoader
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.loading.sampler import ShardSampler
from sadp_dist.selection.random import bits, stream_key

Key = tuple[int, int, Callable[[Any], Any] | None]
"""Epoch, index, and the transform if it is not the loader's own."""


class MapStyle(Protocol):
    """A map-style dataset, as torch calls it; it needs no base class."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TorchLoader(EpochLoader):
    """Batches of a sampler's current epoch from a map-style dataset of `(image, label)`.

    Iterating yields `(images, labels, index, weight)`. Images are stacked, labels are int64 (B,), weight is
    float32 (B,). These are on `device`. Index, int64 (B,), is on the CPU, where the store needs it. Workers
    stay alive between epochs.

    Args:
        dataset: map-style. PIL images are converted to uint8 (C, H, W).
        sampler: a `PruningSampler` or `SequentialShard` over the dataset.
        num_workers: processes that read ahead; 0 reads in this process.
        transform: called with each image. The generators of torch, numpy and `random` are seeded with (seed,
            epoch, index) before each example is read, so an image is augmented in the same way on every rank,
            in every batch and after a resume. `crop_to` changes a `RandomCrop`.
        device: the device of the batches, by default the CPU.
        seed: seed of the transform's random numbers.
    """

    def __init__(
        self,
        dataset: MapStyle,
        sampler: ShardSampler,
        num_workers: int = 0,
        transform: Callable[[Any], Any] | None = None,
        device: torch.device | str | None = None,
        seed: int = 0,
    ) -> None:
        if num_workers < 0:
            raise UsageError(f"num_workers={num_workers}: must be at least 0")
        super().__init__(sampler, len(dataset))
        self._crops = hasattr(transform, "smallest")
        self._crop: Callable[[Any], Any] | None = None  # in place of the transform
        self._device = torch.device(device if device is not None else "cpu")
        self._loader = DataLoader(
            _KeyedDataset(dataset, transform, seed),
            batch_sampler=_BatchKeys(self),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=_leave_signals_to_parent,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # its own: DataLoader draws a seed for its workers every epoch
        )

    def crop_to(self, image_size: int, smallest: float = SMALLEST_CROP) -> None:
        """Crop the images of later epochs to another size, if the transform is a `RandomCrop`."""
        if self._crops:
            from sadp_dist.loading.random_crop import RandomCrop

            self._crop = RandomCrop(image_size, smallest)

    def _start(self) -> Iterator[Batch]:
        weights = torch.from_numpy(self.sampler.position_weights).to(self._device)
        batches = iter(self._loader) if len(self) > 0 else iter(())
        return self._weighted(_with_own_errors(batches), weights)

    def _weighted(self, batches: Iterator[Any], weights: Tensor) -> Iterator[Batch]:
        """Move batches to the device, and add the weights, which are in the same order."""
        start = 0
        for images, labels, index in batches:
            stop = start + len(index)
            images, labels = (x.to(self._device, non_blocking=True) for x in (images, labels))
            yield images, labels, index, weights[start:stop]
            start = stop


def _leave_signals_to_parent(worker: int) -> None:
    """Ignore what a terminal or Slurm also sends to workers, so that the parent can finish its step."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _with_own_errors(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches; a `UsageError` of a worker has its message alone, without the worker's traceback."""
    try:
        yield from batches
    except UsageError as error:
        if not str(error).startswith("Caught "):
            raise
        message = str(error).rstrip().rpartition(f"{type(error).__name__}: ")[2]
        raise type(error)(message) from error


class _BatchKeys:
    """The batch sampler. It sends epoch and crop with every index, so that long-lived workers know them."""

    def __init__(self, loader: TorchLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[Key]]:
        sampler, crop = self._loader.sampler, self._loader._crop
        epoch, indices = sampler.epoch, iter(sampler.indices.tolist())
        for size in sampler.batch_sizes.tolist():
            yield [(epoch, index, crop) for index in islice(indices, size)]


class _KeyedDataset(Dataset[tuple[Any, int, int]]):
    """Examples by epoch, index and crop, read with seeded random generators."""

    def __init__(self, dataset: MapStyle, transform: Callable[[Any], Any] | None, seed: int) -> None:
        self._dataset = dataset
        self._transform = transform
        self._seed = seed

    def __getitem__(self, key: Key) -> tuple[Any, int, int]:
        epoch, index, crop = key
        transform = crop or self._transform
        with _seeded(int(bits(stream_key(self._seed, epoch, LoadingStream.TRANSFORM), index))):
            image, label = self._dataset[index]
            if transform is not None:
                image = transform(image)
        if isinstance(image, Image.Image):
            pixels = torch.from_numpy(np.array(image))
            image = (pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)).contiguous()
        return image, int(label), index


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's random generators, and restore the state of this process afterwards."""
    generator = torch.default_generator
    keep = get_worker_info() is None  # a worker does not use them for anything else
    if keep:
        state = random.getstate(), np.random.get_state(), generator.get_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    generator.manual_seed(seed)
    try:
        yield
    finally:
        if keep:
            random.setstate(state[0])
            np.random.set_state(state[1])
            generator.set_state(state[2])
