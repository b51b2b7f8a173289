"""Reading pruned epochs: images per second compared with FFCV's loader, and the gap between epochs.

`FFCVLoader` is this project's loader. It reads half of the examples, a different half in every epoch. FFCV's
own loader and torch's DataLoader read all examples in random order. All return contiguous (B, C, H, W) uint8
tensors with labels and indices, with the same number of threads or processes. The time of an epoch lasts
from its start to its last batch. Short runs count CPU time, which other work on the machine hardly changes.
"""

from __future__ import annotations

import gc
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor, ToTorchImage
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset

from benchmarks.result import Options, Ratio, Result, Table
from sadp_dist import PruningConfig, connect
from sadp_dist.data import ImageSource, open_images
from sadp_dist.loading import FFCVLoader, PageOrder, PruningSampler, beton_pages, pad_crop_flip, write_beton
from sadp_dist.loading.mapped_file import MappedFile

BATCH = 128
SIDE = 224
WORKERS = 1
WINDOW = 8


@dataclass(frozen=True)
class Images:
    """Images to read: name, source, storage format, and the side of the crop."""

    name: str
    source: ImageSource | Subset
    stored: str
    side: int | None


def measure(options: Options) -> Result:
    """Measure images per second with a warm and a cold page cache, and the gap between epochs."""
    if options.data is None:
        note = "Not measured: it needs cifar10.zip and imagenet-sample.zip, in the folder that --data names."
        return Result([Table("Images per second", ["reader"], [["none"]], note)])
    torch.set_num_threads(1)
    cifar10 = open_images(options.data / "cifar10.zip", "train")
    small = Subset(cifar10, range(0, len(cifar10), 20 if options.short else 2))
    kinds = [Images("32 x 32, raw", small, "raw", None)]
    if not options.short:
        photographs = open_images(options.data / "imagenet-sample.zip")
        kinds.append(Images("32 x 32, JPEG", Subset(cifar10, range(0, len(cifar10), 10)), "jpg", None))
        kinds.append(Images("photographs, raw", photographs, "raw", SIDE))
        kinds.append(Images("photographs, JPEG", photographs, "jpg", SIDE))
    speeds, ratios, gaps, beside = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(kinds):
            beton = Path(folder, f"{number}.beton")
            readers = Readers(kind, beton)
            beside.append([f"write {kind.name}, images/s", readers.written])
            turns = 9 if kind.side else 15
            warm = readers.speeds(turns, clock=time.process_time if options.short else time.perf_counter)
            cold = {} if options.short else readers.speeds(5, cold=True)
            plain = {} if options.short else readers.speeds_of_torch(2)
            for how, found in (("full", warm), ("empty", cold), ("full", plain)):
                speeds += [[kind.name, how, name, len(kind.source), speed] for name, speed in found.items()]
            slack = 2.0 if options.short else None
            ratios.append(
                Ratio(
                    f"{kind.name}: FFCVLoader / FFCV",
                    warm["FFCVLoader"] / warm["FFCV"],
                    "higher",
                    goal=0.98,
                    slack=slack,
                )
            )
            if not options.short:
                to_half = cold["FFCVLoader"] / cold["FFCV, half"]
                by_pages = cold["FFCVLoader, by pages"] / cold["FFCV, half"]
                ratios += [
                    Ratio(
                        f"{kind.name}, empty page cache: FFCVLoader / FFCV, half",
                        to_half,
                        "higher",
                        goal=0.98,
                    ),
                    Ratio(
                        f"{kind.name}, empty page cache: FFCVLoader, by pages / FFCV, half",
                        by_pages,
                        "higher",
                    ),
                ]
                ratios += [
                    Ratio(f"{kind.name}: FFCVLoader / {name}", warm["FFCVLoader"] / speed, "higher")
                    for name, speed in plain.items()
                ]
                plan, first, begun, of_ffcv = readers.gap(turns)
                gaps.append([kind.name, plan, first, begun, of_ffcv])
                ratios.append(Ratio(f"{kind.name}, first batch: FFCVLoader / FFCV", first / of_ffcv, "lower"))
            readers.close()
    if not options.short:
        gaps.append(["for comparison: one training step of small_cnn, T = 4", step_ms(), None, None, None])
        beside.append(["crop, flip and pad 256 images of 32 x 32, ms", augmentation_ms()])
    tables = [
        Table(
            f"Images per second, batches of {BATCH}, {WORKERS} reading thread or process",
            ["images", "page cache", "reader", "images in the file", "images/s"],
            speeds,
            "FFCVLoader reads a new half of the images in each epoch, FFCV and torch read all. With an empty "
            "page cache, half of the images need nearly as much of the file as all of them, so FFCV also "
            'reads a fixed half ("FFCV, half"). "By pages" reads with os_cache=False and a shuffle window of '
            f"{WINDOW} pages. The torch readers decode a .zip with PIL and crop with PIL or with "
            "torchvision's v2.",
        ),
        Table(
            "Gap between epochs: time to plan and to the first batch, ms",
            ["images", "plan", "FFCVLoader", "FFCVLoader, started during evaluation", "FFCV"],
            gaps,
            "The plan needs the scores of the last step. The trainer starts reading after the plan, during "
            "evaluation and checkpointing; then the first batch takes only the time of the fourth column. "
            "FFCV has no plan.",
        ),
        Table("Writing and augmentation", ["operation", "value"], beside),
    ]
    return Result(tables, ratios)


class Readers:
    """A file and the loaders over it, each compiled once."""

    def __init__(self, kind: Images, beton: Path) -> None:
        self.kind, self.beton = kind, beton
        size = len(kind.source)
        write = partial(write_beton, kind.source, beton, max_side=500, image_format=kind.stored)
        self.written = size / timed(write)[0]
        self.store = connect("memory:", "benchmark", size, PruningConfig(ratio=0.5, epochs=1000))
        self.store.push(np.arange(size), np.random.default_rng(0).lognormal(size=size), epoch=0)
        self.sampler = PruningSampler(self.store, BATCH, rank=0, world_size=1)
        self.samplers = [self.sampler]
        self.pruned = FFCVLoader(beton, self.sampler, num_workers=WORKERS, image_size=kind.side)
        self.whole = self.ffcv(None)
        self.epoch = 0
        self.next_epoch()

    def ffcv(self, indices: NDArray[np.int64] | None) -> Loader:
        """Return FFCV's own loader in random order, over all examples or some."""
        decoder = (
            RandomResizedCropRGBImageDecoder((SIDE, SIDE)) if self.kind.side else SimpleRGBImageDecoder()
        )
        return Loader(
            str(self.beton),
            BATCH,
            num_workers=WORKERS,
            order=OrderOption.RANDOM,
            drop_last=False,
            indices=indices,
            pipelines={
                "image": [decoder, ToTensor(), ToTorchImage(channels_last=False)],
                "label": [IntDecoder(), ToTensor()],
                "index": [IntDecoder(), ToTensor()],
            },
        )

    def next_epoch(self) -> None:
        for sampler in self.samplers:
            sampler.set_epoch(self.epoch)
        self.epoch += 1

    def speeds(
        self, turns: int, clock: Callable[[], float] = time.perf_counter, cold: bool = False
    ) -> dict[str, float]:
        """Return images per second, medians over the turns without the first, which compiles."""
        readers: dict[str, Any] = {"FFCVLoader": self.pruned, "FFCV": self.whole}
        if cold:
            order = PageOrder(beton_pages(self.beton), WINDOW)
            self.samplers.append(PruningSampler(self.store, BATCH, rank=0, world_size=1, page_order=order))
            readers["FFCVLoader, by pages"] = FFCVLoader(
                self.beton, self.samplers[1], num_workers=WORKERS, image_size=self.kind.side, os_cache=False
            )
            size = len(self.kind.source)
            readers["FFCV, half"] = self.ffcv(np.random.default_rng(0).permutation(size)[: size // 2])
        mapped = [self.pruned._loader, self.whole, *([readers["FFCV, half"]] if cold else [])]
        found: dict[str, list[float]] = {name: [] for name in readers}
        names = list(readers)
        for turn in range(-1, turns):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                self.next_epoch()
                if cold:
                    drop(self.beton, *mapped)
                seconds, read = timed(lambda name=name: sum(len(batch[1]) for batch in readers[name]), clock)
                if turn >= 0:
                    found[name].append(read / seconds)
        return {name: statistics.median(speeds) for name, speeds in found.items()}

    def speeds_of_torch(self, turns: int) -> dict[str, float]:
        """Return images per second of torch's DataLoader, which decodes images one by one."""
        found = {}
        for name, first in (("torch, PIL", True), ("torch, v2", False)):
            loader = DataLoader(
                Subset(Tensors(self.kind, first), range(min(len(self.kind.source), 5000))),
                BATCH,
                shuffle=True,
                num_workers=WORKERS,
                persistent_workers=True,
            )
            speeds = []
            for _ in range(turns + 1):
                seconds, read = timed(lambda loader=loader: sum(len(batch[1]) for batch in loader))
                speeds.append(read / seconds)
            found[name] = statistics.median(speeds[1:])
            del loader
            gc.collect()
        return found

    def gap(self, turns: int) -> tuple[float, float, float, float]:
        """Return the milliseconds of the plan and of the first batch: read now, begun before, FFCV's."""
        plans, first, begun, of_ffcv = [], [], [], []
        for _ in range(turns):
            plans.append(timed(self.next_epoch)[0])
            first.append(self.first_batch(lambda: iter(self.pruned)))
            self.next_epoch()
            self.pruned.begin()
            time.sleep(0.2)  # a short evaluation
            begun.append(self.first_batch(lambda: iter(self.pruned)))
            of_ffcv.append(self.first_batch(lambda: iter(self.whole)))
        plan, *ms = (1e3 * statistics.median(seconds) for seconds in (plans, first, begun, of_ffcv))
        return plan, *ms

    def first_batch(self, begin: Callable[[], Iterator[Any]]) -> float:
        start = time.perf_counter()
        batches = begin()
        next(batches)
        seconds = time.perf_counter() - start
        with suppress(StopIteration):  # FFCV's epochs end by themselves alone
            while True:
                next(batches)
        return seconds

    def close(self) -> None:
        self.pruned.close()
        self.store.close()


class Tensors:
    """Images decoded by PIL, as tensors, as a training script without FFCV reads them."""

    def __init__(self, kind: Images, crop_first: bool) -> None:
        from torchvision.transforms import v2

        crop = [v2.RandomResizedCrop(kind.side)] if kind.side else []
        steps = [*crop, v2.PILToTensor()] if crop_first else [v2.PILToTensor(), *crop]
        self._transform = v2.Compose(steps)
        self._images = kind.source

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        image, label = self._images[index]
        return self._transform(image), label, index


def step_ms() -> float:
    """Return the milliseconds of a training step of the smallest network on a batch."""
    from sadp_dist.snn import build_network

    network = build_network("small_cnn", num_classes=10, image_size=32, time_steps=4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.rand(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))

    def step() -> None:
        logits = network(images).mean(0)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return 1e3 * statistics.median(timed(step)[0] for _ in range(5))


def augmentation_ms() -> float:
    """Return the milliseconds of pad_crop_flip for a batch, on one thread."""
    images, index = torch.randint(0, 256, (256, 3, 32, 32), dtype=torch.uint8), torch.arange(256)
    seconds = [timed(lambda e=epoch: pad_crop_flip(images, index, e, seed=0))[0] for epoch in range(50)]
    return 1e3 * statistics.median(seconds)


def drop(path: Path, *loaders: Loader) -> None:
    """Remove a file from the system's cache, including what FFCV's loaders have mapped."""
    for loader in loaders:
        manager = loader.memory_manager
        mapped = manager.mapped if isinstance(manager, MappedFile) else manager.context.mmap
        if mapped is not None:
            mapped._mmap.madvise(mmap.MADV_DONTNEED)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(action: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    start = clock()
    result = action()
    return clock() - start, result
