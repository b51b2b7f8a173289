"""Read a sampler's epochs from a .beton, with one FFCV loader that is compiled once per image size.

The length of FFCV's `Loader` is fixed when it is created. Here each epoch's order goes directly to FFCV's
reading thread, so a subset may have a different size in every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
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

try:
    with importing_ffcv():
        from ffcv.fields import RGBImageField
        from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, SimpleRGBImageDecoder
        from ffcv.transforms import ToDevice, ToTensor, ToTorchImage
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

from sadp_dist.loading.array_decoder import ArrayBytes, ToArrays
from sadp_dist.loading.compiled_loader import CompiledLoader
from sadp_dist.loading.epoch_loader import SMALLEST_CROP, Batch, EpochLoader
from sadp_dist.loading.epoch_reader import Buffers, EpochReader
from sadp_dist.loading.page_cache import PageCache
from sadp_dist.loading.resized_crop import KeyedResizedCropDecoder
from sadp_dist.loading.to_chw import ToCHW

CENTER_CROP = 224 / 256
"""Side of the central crop for evaluation, as a share of the image's shorter side."""


class FFCVLoader(EpochLoader):
    """Batches of a sampler's current epoch, read from a .beton.

    Iterating yields `(images, labels, index, weight)`. Images are (B, C, H, W), uint8 unless you give another
    pipeline; a file of arrays gives arrays (B, ...) of its dtype. Labels are int64 (B,), weight is float32
    (B,). These are on `device`. Index, int64 (B,), is on the CPU, where the store needs it. Later batches do
    not overwrite a batch.

    Args:
        beton: a file with the fields `image` or `frames`, `label` and `index`.
        sampler: a `PruningSampler` or `SequentialShard` over the file's examples.
        pipelines: FFCV operations for `image`, `frames` or `label`, instead of the default. The loader calls
            `set_epoch(epoch)` of every operation that has it. The results of FFCV's own random operations
            depend on the thread that runs them, so with them a resumed run differs.
        num_workers: threads that decode.
        image_size: height and width of the images, in pixels. Training takes a random resized crop,
            evaluation the central crop (224/256 of the shorter side). Required if the sizes of the images
            differ.
        device: the device of the batches, by default the CPU.
        batches_ahead: batches to prepare in advance.
        random_crop: whether `image_size` means a random crop. By default, it does unless the sampler is a
            `SequentialShard`.
        seed: seed of the random crops.
        os_cache: True lets the operating system decide which parts of the file are in memory. False is for
            files larger than memory: whole pages of the file are read, and each stays in memory from the
            first batch that needs it to the last. Give the sampler a `PageOrder`; without one, most of the
            file is in memory at the same time.

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
        batches_ahead: int = 3,
        random_crop: bool | None = None,
        seed: int = 0,
        os_cache: bool = True,
    ) -> None:
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if not 1 <= num_workers <= most:
            raise UsageError(
                f"num_workers={num_workers}: must be from 1 to {most}, the number of numba's threads"
            )
        if batches_ahead < 1:
            raise UsageError(f"batches_ahead={batches_ahead}: must be at least 1")
        self._device = torch.device(device if device is not None else "cpu")
        reader = open_beton(beton)
        super().__init__(sampler, int(reader.num_samples))
        self._positions = positions(reader).astype(np.uint64)
        if random_crop is None:
            random_crop = not isinstance(sampler, SequentialShard)
        self._input = FRAMES if FRAMES in reader.field_names else IMAGE
        chosen = {field: list(steps) for field, steps in (pipelines or {}).items()}
        for field in chosen:
            if field not in (self._input, LABEL):
                raise UsageError(
                    f"pipelines: field {field!r} is not allowed; must be {self._input!r} or {LABEL!r}"
                )
        if self._input == FRAMES and image_size is not None:
            raise UsageError(
                f"image_size={image_size}: {reader.file_name} has arrays, which are not resized; leave it out"
            )
        if FRAMES not in chosen and self._input == FRAMES:
            chosen[FRAMES] = _array_pipeline(reader, self._device)
        elif IMAGE not in chosen and self._input == IMAGE:
            chosen[IMAGE] = _image_pipeline(reader, image_size, random_crop, seed, self._device)
        self._labels = None if LABEL in chosen else column(reader, LABEL).astype(np.int64)
        unused = dict.fromkeys(reader.field_names)

        def compiled(pipelines: dict[str, list[Any]]) -> _Compiled:
            steps = list(chain(*pipelines.values()))  # FFCV takes the decoders out of the lists
            loader = CompiledLoader(
                reader.file_name,
                sampler.batch_size,
                num_workers=num_workers,
                os_cache=os_cache,
                pipelines={**unused, **pipelines},
                batches_ahead=batches_ahead,
            )
            return _Compiled(loader, Buffers(loader), steps)

        def cropped_to(size: int) -> _Compiled:
            decoder = KeyedResizedCropDecoder((size, size), seed)
            return compiled({**chosen, IMAGE: _decoded(decoder, self._device)})

        self._compiled = compiled(chosen)
        self._cropped_to = cropped_to
        own = any(isinstance(step, KeyedResizedCropDecoder) for step in self._compiled.steps)
        self._by_size = {image_size: self._compiled} if own and IMAGE not in (pipelines or {}) else {}
        self._fields = list(self._compiled.loader.pipeline_specs)
        self._reading: EpochReader | None = None

    @property
    def _loader(self) -> CompiledLoader:
        return self._compiled.loader

    def crop_to(self, image_size: int, smallest: float = SMALLEST_CROP) -> None:
        """Crop the images of later epochs to another size; each size is compiled once.

        Without a random crop of its own, the loader does nothing.
        """
        if not self._by_size:
            return
        self.close()
        if image_size not in self._by_size:
            self._by_size[image_size] = self._cropped_to(image_size)
        before, self._compiled = self._compiled, self._by_size[image_size]
        if before is not self._compiled and isinstance(before.loader.memory_manager, PageCache):
            before.loader.memory_manager.free()
        for step in self._compiled.steps:
            if isinstance(step, KeyedResizedCropDecoder):
                step.set_smallest(smallest)

    def _start(self) -> Iterator[Batch]:
        self.close()
        loader, buffers, steps = self._compiled
        for step in steps:
            if hasattr(step, "set_epoch"):
                step.set_epoch(self.sampler.epoch)
        indices = self.sampler.indices.copy()
        order = self._positions[indices]
        if len(order) == 0:
            return iter(())
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            self._reading = EpochReader(loader, order, self.sampler.batch_sizes, buffers)
        weights = self._to_device(self.sampler.position_weights)
        labels = None if self._labels is None else self._to_device(self._labels[order])
        return self._batches(self._reading, torch.from_numpy(indices), weights, labels)

    def _to_device(self, values: NDArray[Any]) -> Tensor:
        """Copy to the device without waiting for it."""
        tensor = torch.from_numpy(values)
        return (
            tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)
        )

    def _batches(
        self, reading: EpochReader, indices: Tensor, weights: Tensor, labels: Tensor | None
    ) -> Iterator[Batch]:
        """Yield what FFCV reads, with what does not come from FFCV: each (n,), in the order of reading.

        Labels are None if they have a pipeline.
        """
        try:
            start = 0
            for results in reading:
                batch = dict(zip(self._fields, results, strict=True))
                inputs = batch[self._input]
                some = slice(start, start + len(inputs))
                label = batch[LABEL].flatten() if labels is None else labels[some]
                yield inputs, label, indices[some], weights[some]
                start = some.stop
        finally:
            reading.stop()

    def close(self) -> None:
        """Stop reading an epoch that was not read to its end. The next epoch calls this itself."""
        self._begun = None
        if self._reading is not None:
            self._reading.stop()
            self._reading = None


class _Compiled(NamedTuple):
    """FFCV's loader for images of one size.

    Attributes:
        loader: compiled.
        buffers: its memory.
        steps: the operations of its pipelines.
    """

    loader: CompiledLoader
    buffers: Buffers
    steps: list[Any]


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
            f"beton {reader.file_name!r}: field {IMAGE!r} is a {kind}; give a pipeline for it in pipelines="
        )
    height, width = sizes["height"], sizes["width"]
    decoder: Any
    uniform = (height == height[0]).all() and (width == width[0]).all()
    if uniform and (image_size is None or image_size == height[0] == width[0]):
        decoder = SimpleRGBImageDecoder()
    elif image_size is None:
        smallest, largest = (f"{bound(height)} x {bound(width)}" for bound in (np.min, np.max))
        raise UsageError(
            f"image_size: required, as the sizes of the images differ (from {smallest} to {largest} pixels)"
        )
    elif image_size < 1:
        raise UsageError(f"image_size={image_size}: must be at least 1 pixel")
    elif random_crop:
        decoder = KeyedResizedCropDecoder((image_size, image_size), seed)
    else:
        decoder = CenterCropRGBImageDecoder((image_size, image_size), CENTER_CROP)
    return _decoded(decoder, device)


def _decoded(decoder: Any, device: torch.device) -> list[Any]:
    """Return the pipeline of images that a decoder reads."""
    if device.type == "cpu":
        return [decoder, ToCHW(), ToTensor()]
    return [decoder, ToTensor(), ToDevice(device, non_blocking=True), ToTorchImage()]
