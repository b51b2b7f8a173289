"""A sampler's epochs from a .beton, through one FFCV loader that is compiled once for the whole run.

FFCV's `Loader` fixes its length when it is made. Here the epoch's order goes straight to its reading thread
instead, so that a subset may have any size in any epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.beton import FRAMES, IMAGE, LABEL, column, open_beton, positions
from sadp_dist.loading.ffcv_import import importing_ffcv
from sadp_dist.loading.sampler import SequentialShard, ShardSampler
from sadp_dist.selection.sharding import Shard

try:
    with importing_ffcv():
        from ffcv.fields import RGBImageField
        from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, SimpleRGBImageDecoder
        from ffcv.transforms import ToDevice, ToTensor, ToTorchImage
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

from sadp_dist.loading.array_decoder import ArrayBytes, ToArrays
from sadp_dist.loading.compiled_loader import CompiledLoader
from sadp_dist.loading.epoch_reader import Buffers, EpochReader
from sadp_dist.loading.resized_crop import KeyedResizedCropDecoder
from sadp_dist.loading.to_chw import ToCHW

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
CENTER_CROP = 224 / 256


class FFCVLoader:
    """Batches of a sampler's current epoch from a .beton.

    Iterating yields `(images, labels, index, weight)`: images (B, C, H, W), uint8 unless a pipeline says
    otherwise, or of a file of arrays those, (B, ...) in their own dtype; labels int64 (B,) and weight float32
    (B,) on `device`, and index int64 (B,) on the CPU, where the store takes it. They are the caller's to
    keep.

    Args:
        beton: a file with the fields `image` or `frames`, `label` and `index`.
        sampler: a `PruningSampler` or `SequentialShard` over its examples.
        pipelines: FFCV operations for `image`, `frames` or `label`, instead of the default. An operation with
            a method `set_epoch` is told each epoch. FFCV's own random operations depend on the thread that
            runs them: with them a resumed run is not the same run.
        num_workers: threads that decode.
        image_size: images come out as squares of this many pixels: a random resized crop for training, the
            central crop (224/256 of the shorter side) for evaluation. Needed where the images differ in
            size.
        device: where the batches go, the CPU by default.
        drop_last: leave out a last partial batch.
        batches_ahead: batches made in advance.
        random_crop: whether `image_size` means a random crop; by default unless the sampler is a
            `SequentialShard`.
        seed: of the random crops.
        os_cache: leave it to the system which parts of the file are in memory; False for files larger than
            memory: whole pages of the file are read, each kept from the first batch that needs it to the
            last. That takes a sampler with a `PageOrder`, or most of the file is in memory at a time.

    Raises:
        UsageError: the file is missing, damaged or has no index, or an argument is out of range.
    """

    def __init__(
        self,
        beton: str | Path,
        sampler: ShardSampler,
        pipelines: Mapping[str, Sequence[Any]] | None = None,
        num_workers: int = 1,
        image_size: int | None = None,
        device: torch.device | str | None = None,
        drop_last: bool = False,
        batches_ahead: int = 3,
        random_crop: bool | None = None,
        seed: int = 0,
        os_cache: bool = True,
    ) -> None:
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if not 1 <= num_workers <= most:
            raise UsageError(
                f"num_workers={num_workers}: must be from 1 to {most}, the threads numba may use"
            )
        if batches_ahead < 1:
            raise UsageError(f"batches_ahead={batches_ahead}: must be at least 1")
        self.sampler = sampler
        self.drop_last = drop_last
        self._device = torch.device(device if device is not None else "cpu")
        reader = open_beton(beton)
        self.dataset_size = int(reader.num_samples)
        self._positions = positions(reader).astype(np.uint64)
        if random_crop is None:
            random_crop = not isinstance(sampler, SequentialShard)
        self._input = FRAMES if FRAMES in reader.field_names else IMAGE
        chosen = {field: list(steps) for field, steps in (pipelines or {}).items()}
        for field in chosen:
            if field not in (self._input, LABEL):
                raise UsageError(
                    f"pipelines: has {field!r}; a pipeline can be given for {self._input!r} and {LABEL!r}"
                )
        if self._input == FRAMES and image_size is not None:
            raise UsageError(
                f"image_size={image_size}: {reader.file_name} holds arrays, which come out as they are; "
                "leave it out"
            )
        if FRAMES not in chosen and self._input == FRAMES:
            chosen[FRAMES] = _array_pipeline(reader, self._device)
        elif IMAGE not in chosen and self._input == IMAGE:
            chosen[IMAGE] = _image_pipeline(reader, image_size, random_crop, seed, self._device)
        self._labels = None if LABEL in chosen else column(reader, LABEL).astype(np.int64)
        self._keyed = [step for steps in chosen.values() for step in steps if hasattr(step, "set_epoch")]
        unused = dict.fromkeys(reader.field_names)
        self._loader = CompiledLoader(
            reader.file_name,
            sampler.batch_size,
            num_workers=num_workers,
            os_cache=os_cache,
            pipelines={**unused, **chosen},
            batches_ahead=batches_ahead,
        )
        self._buffers = Buffers(self._loader)
        self._fields = list(self._loader.pipeline_specs)
        self._reading: EpochReader | None = None
        self._begun: _Begun | None = None

    def __len__(self) -> int:
        """Batches to come in the sampler's current epoch."""
        size = self.sampler.batch_size
        return len(self.sampler) // size if self.drop_last else self.sampler.batches

    def begin(self) -> None:
        """Start to read the sampler's current epoch, which the next iteration takes up: while a network is
        evaluated or saved, say. It ends an epoch that is being read."""
        size = self.sampler.shard.dataset_size
        if size != self.dataset_size:
            raise UsageError(
                f"the .beton has {self.dataset_size} examples and its sampler {size}; they must agree"
            )
        self.close()
        count = min(len(self.sampler), len(self) * self.sampler.batch_size)
        for step in self._keyed:
            step.set_epoch(self.sampler.epoch)
        indices = self.sampler.indices[:count].copy()
        order = self._positions[indices]
        reading = None
        if count > 0:
            with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
                reading = self._reading = EpochReader(self._loader, order, self._buffers)
        weights = self._to_device(self.sampler.position_weights[:count])
        labels = None if self._labels is None else self._to_device(self._labels[order])
        now = self.sampler.shard, len(self.sampler)
        self._begun = _Begun(*now, reading, torch.from_numpy(indices), weights, labels)

    def _to_device(self, values: NDArray[Any]) -> Tensor:
        """On the device soon, without waiting for it."""
        tensor = torch.from_numpy(values)
        return (
            tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)
        )

    def __iter__(self) -> Iterator[Batch]:
        begun = self._begun
        if begun is None or begun.shard is not self.sampler.shard or begun.left != len(self.sampler):
            self.begin()
            begun = self._begun
        self._begun = None
        assert begun is not None
        if begun.reading is None:
            return
        try:
            start = 0
            for results in begun.reading:
                batch = dict(zip(self._fields, results, strict=True))
                inputs = batch[self._input]
                some = slice(start, start + len(inputs))
                label = batch[LABEL].flatten() if begun.labels is None else begun.labels[some]
                yield inputs, label, begun.indices[some], begun.weights[some]
                start = some.stop
        finally:
            begun.reading.stop()

    def close(self) -> None:
        """Stop an epoch that was not read to its end. The next one does that by itself."""
        self._begun = None
        if self._reading is not None:
            self._reading.stop()
            self._reading = None


class _Begun(NamedTuple):
    """An epoch that is being read, and what does not come from FFCV: of all of it, as FFCV reads it.

    Attributes:
        shard, left: of the sampler when it began.
        reading: None where the epoch has no batch.
        indices, weights: (n,).
        labels: (n,), unless they have a pipeline.
    """

    shard: Shard
    left: int
    reading: EpochReader | None
    indices: Tensor
    weights: Tensor
    labels: Tensor | None


def _array_pipeline(reader: Any, device: torch.device) -> list[Any]:
    field = reader.handlers[FRAMES]
    decode = [ArrayBytes(), ToArrays(tuple(int(size) for size in field.shape), field.dtype)]
    return decode if device.type == "cpu" else [*decode, ToDevice(device, non_blocking=True)]


def _image_pipeline(
    reader: Any, image_size: int | None, random_crop: bool, seed: int, device: torch.device
) -> list[Any]:
    sizes = column(reader, IMAGE)
    if not isinstance(reader.handlers[IMAGE], RGBImageField):
        kind = type(reader.handlers[IMAGE]).__name__
        raise UsageError(
            f"beton {reader.file_name!r}: field {IMAGE!r} is a {kind}; give its pipeline in pipelines="
        )
    height, width = sizes["height"], sizes["width"]
    decoder: Any
    uniform = (height == height[0]).all() and (width == width[0]).all()
    if uniform and (image_size is None or image_size == height[0] == width[0]):
        decoder = SimpleRGBImageDecoder()
    elif image_size is None:
        smallest, largest = (f"{bound(height)} x {bound(width)}" for bound in (np.min, np.max))
        raise UsageError(
            f"image_size: needed, the images' sizes differ (from {smallest} to {largest} pixels)"
        )
    elif image_size < 1:
        raise UsageError(f"image_size={image_size}: must be at least 1 pixel")
    elif random_crop:
        decoder = KeyedResizedCropDecoder((image_size, image_size), seed)
    else:
        decoder = CenterCropRGBImageDecoder((image_size, image_size), CENTER_CROP)
    if device.type == "cpu":
        return [decoder, ToCHW(), ToTensor()]
    return [decoder, ToTensor(), ToDevice(device, non_blocking=True), ToTorchImage()]
