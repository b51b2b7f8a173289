"""A sampler's epochs over any map-style dataset, through `torch.utils.data.DataLoader`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from sadp_dist.errors import UsageError
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.loading.sampler import ShardSampler
from sadp_dist.selection.random import bits, stream_key
from sadp_dist.selection.sharding import Shard

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


class MapStyle(Protocol):
    """What `torch.utils.data.Dataset` is when it is map-style; no base class is needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TorchLoader:
    """Batches of a sampler's current epoch from a dataset that gives `(image, label)`.

    Iterating yields `(images, labels, index, weight)`: images stacked, labels int64 (B,), weight float32
    (B,) on `device`, and index int64 (B,) on the CPU, where the store takes it. Workers stay alive from
    epoch to epoch.

    Args:
        dataset: map-style; an image that is a PIL image comes out as uint8 (C, H, W).
        sampler: a `PruningSampler` or `SequentialShard` over the dataset.
        num_workers: processes that read ahead; 0 reads in this one.
        transform: called with each image. Its random numbers, and the dataset's own, from torch, numpy or
            `random`, are seeded with (seed, epoch, index): an image is augmented the same on any rank, in
            any batch, after any resume.
        device: where the batches go, the CPU by default.
        drop_last: leave out a last partial batch.
        seed: of the transform's random numbers.
    """

    def __init__(
        self,
        dataset: MapStyle,
        sampler: ShardSampler,
        num_workers: int = 0,
        transform: Callable[[Any], Any] | None = None,
        device: torch.device | str | None = None,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        if num_workers < 0:
            raise UsageError(f"num_workers={num_workers}: must be at least 0")
        self.sampler = sampler
        self.dataset_size = len(dataset)
        self._device = torch.device(device if device is not None else "cpu")
        self._batches = _Batches(sampler, drop_last)
        self._loader = DataLoader(
            _KeyedDataset(dataset, transform, seed),
            batch_sampler=self._batches,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # of its own: DataLoader draws a seed for its workers at every epoch
        )
        self._begun: _Begun | None = None

    def __len__(self) -> int:
        """Batches to come in the sampler's current epoch."""
        return len(self._batches)

    def begin(self) -> None:
        """Let the workers start with the sampler's current epoch, which the next iteration takes up."""
        size = self.sampler.shard.dataset_size
        if size != self.dataset_size:
            raise UsageError(
                f"the dataset has {self.dataset_size} examples and its sampler {size}; they must agree"
            )
        weights = torch.from_numpy(self.sampler.position_weights).to(self._device)
        batches = iter(self._loader) if len(self) > 0 else iter(())
        self._begun = _Begun(self.sampler.shard, len(self.sampler), batches, weights)

    def __iter__(self) -> Iterator[Batch]:
        begun = self._begun
        if begun is None or begun.shard is not self.sampler.shard or begun.left != len(self.sampler):
            self.begin()
            begun = self._begun
        self._begun = None
        assert begun is not None
        weights, start = begun.weights, 0
        for images, labels, index in begun.batches:
            stop = start + len(index)
            images, labels = (x.to(self._device, non_blocking=True) for x in (images, labels))
            yield images, labels, index, weights[start:stop]
            start = stop


class _Begun(NamedTuple):
    """An epoch that the workers have begun, when the sampler had this shard, and so much left of it."""

    shard: Shard
    left: int
    batches: Iterator[Any]
    weights: Tensor


class _Batches:
    """The batch sampler: the epoch travels with every index, so that workers that live on always know it."""

    def __init__(self, sampler: ShardSampler, drop_last: bool) -> None:
        self._sampler = sampler
        self._drop_last = drop_last

    def __len__(self) -> int:
        size = self._sampler.batch_size
        return len(self._sampler) // size if self._drop_last else self._sampler.batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, size = self._sampler.epoch, self._sampler.batch_size
        indices = self._sampler.indices.tolist()
        for batch in range(len(self)):
            yield [(epoch, index) for index in indices[batch * size : (batch + 1) * size]]


class _KeyedDataset(Dataset[tuple[Any, int, int]]):
    def __init__(self, dataset: MapStyle, transform: Callable[[Any], Any] | None, seed: int) -> None:
        self._dataset = dataset
        self._transform = transform
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, int, int]:
        epoch, index = key
        with _seeded(int(bits(stream_key(self._seed, epoch, LoadingStream.TRANSFORM), index))):
            image, label = self._dataset[index]
            if self._transform is not None:
                image = self._transform(image)
        if isinstance(image, Image.Image):
            pixels = torch.from_numpy(np.array(image))
            image = (pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)).contiguous()
        return image, int(label), index


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's random generators, and give this process its own state back afterwards."""
    generator = torch.default_generator
    keep = get_worker_info() is None  # a worker has no other use for them
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
