"""Reading pruned epochs: images a second beside FFCV's own loader, and the gap between epochs.

Every reader gives contiguous (B, C, H, W) uint8 tensors with labels and indices, on as many threads or
processes. FFCVLoader reads half of the examples, others in every epoch, from the plan of a store; FFCV and
torch read all of them in random order. An epoch counts from its start to its last batch; a short run counts
processor time, which other work on the machine changes little.
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
from torch.utils.data import DataLoader, Subset

from benchmarks.result import Options, Ratio, Result, Table
from sadp_dist import PruningConfig, connect
from sadp_dist.data import ImageSource, open_images
from sadp_dist.loading import FFCVLoader, PruningSampler, pad_crop_flip, write_beton

BATCH = 128
SIDE = 224
WORKERS = 1


@dataclass(frozen=True)
class Images:
    """What is read: a name, a source, how it is stored, and the side that it is cropped to."""

    name: str
    source: ImageSource | Subset
    stored: str
    side: int | None


def measure(options: Options) -> Result:
    """Images a second with the file in memory and with a cold page cache, and the gap between epochs."""
    assert options.data is not None, "loading needs --data"
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
            for how, found in (("in memory", warm), ("cold", cold), ("in memory", plain)):
                speeds += [[kind.name, how, name, len(kind.source), speed] for name, speed in found.items()]
            slack = 2.0 if options.short else None
            ratios += [ratio(f"{kind.name}: FFCVLoader / FFCV", warm, slack)]
            if cold:
                ratios += [ratio(f"{kind.name}, cold: FFCVLoader / FFCV", cold)]
            if not options.short:
                ratios += [
                    Ratio(f"{kind.name}: FFCVLoader / {name}", warm["FFCVLoader"] / speed, "higher")
                    for name, speed in plain.items()
                ]
                plan, first, begun, of_ffcv = readers.gap(turns)
                gaps.append([kind.name, plan, first, begun, of_ffcv])
                ratios.append(Ratio(f"{kind.name}, first batch: FFCVLoader / FFCV", first / of_ffcv, "lower"))
            readers.close()
    if not options.short:
        gaps.append(["beside: a training step of small_cnn, T = 4", step_ms(), None, None, None])
        beside.append(["crop, flip and pad 256 images of 32 x 32, ms", augmentation_ms()])
    tables = [
        Table(
            f"Images a second, batches of {BATCH}, {WORKERS} thread or process that reads",
            ["images", "file", "reader", "N", "images/s"],
            speeds,
            "Cold: before every epoch the file is dropped from the system's cache. PIL: crops by PIL, then a "
            "tensor; v2: a tensor, then torchvision's v2 crop; both decode with PIL from a .zip.",
        ),
        Table(
            "From the end of an epoch to the first batch of the next, ms",
            ["images", "plan", "FFCVLoader", "FFCVLoader, begun while something else runs", "FFCV"],
            gaps,
            "The plan needs the scores of the last step, so it cannot begin before that; what follows it can "
            "run beside evaluation and checkpoint, as the trainer has it: then the third column is all that "
            "remains. FFCV has no plan. The last line is one number, for comparison.",
        ),
        Table("Beside", ["what", "figure"], beside),
    ]
    return Result(tables, ratios)


def ratio(name: str, speeds: dict[str, float], slack: float | None = None) -> Ratio:
    """FFCVLoader's speed to that of FFCV."""
    return Ratio(name, speeds["FFCVLoader"] / speeds["FFCV"], "higher", goal=0.98, slack=slack)


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
        self.pruned = FFCVLoader(beton, self.sampler, num_workers=WORKERS, image_size=kind.side)
        decoder = RandomResizedCropRGBImageDecoder((SIDE, SIDE)) if kind.side else SimpleRGBImageDecoder()
        self.whole = Loader(
            str(beton),
            BATCH,
            num_workers=WORKERS,
            order=OrderOption.RANDOM,
            drop_last=False,
            pipelines={
                "image": [decoder, ToTensor(), ToTorchImage(channels_last=False)],
                "label": [IntDecoder(), ToTensor()],
                "index": [IntDecoder(), ToTensor()],
            },
        )
        self.epoch = 0
        self.next_epoch()

    def next_epoch(self) -> None:
        self.sampler.set_epoch(self.epoch)
        self.epoch += 1

    def speeds(
        self, turns: int, cold: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> dict[str, float]:
        """Images a second of both, medians over the turns; the first one, which compiles, is not counted."""
        found: dict[str, list[float]] = {"FFCVLoader": [], "FFCV": []}
        readers: dict[str, Any] = {"FFCVLoader": self.pruned, "FFCV": self.whole}
        for turn in range(-1, turns):
            for name in sorted(readers, reverse=turn % 2 == 0):
                self.next_epoch()
                if cold:
                    drop(self.beton, self.pruned._loader, self.whole)
                seconds, read = timed(lambda name=name: sum(len(batch[1]) for batch in readers[name]), clock)
                if turn >= 0:
                    found[name].append(read / seconds)
        return {name: statistics.median(speeds) for name, speeds in found.items()}

    def speeds_of_torch(self, turns: int) -> dict[str, float]:
        """Images a second of torch's DataLoader, which decodes them one by one."""
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
        """Milliseconds of the plan and of the first batch after it: at once, begun before, and FFCV's."""
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
    """Images decoded by PIL, as tensors: what a training script without FFCV reads."""

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
    """Milliseconds of forward, backward and step of the smallest network here on a batch."""
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
    """Milliseconds of pad-crop-flip of a batch, on one thread."""
    images, index = torch.randint(0, 256, (256, 3, 32, 32), dtype=torch.uint8), torch.arange(256)
    seconds = [timed(lambda e=epoch: pad_crop_flip(images, index, e, seed=0))[0] for epoch in range(50)]
    return 1e3 * statistics.median(seconds)


def drop(path: Path, *loaders: Loader) -> None:
    """Take a file out of the system's cache, where also what FFCV's loaders have mapped of it would stay."""
    for loader in loaders:
        mapped = loader.memory_manager.context.mmap
        if mapped is not None:
            mapped._mmap.madvise(mmap.MADV_DONTNEED)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(action: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    start = clock()
    result = action()
    return clock() - start, result
