"""Reading pruned epochs: FFCVLoader against FFCV's own loader on the same .beton, and torch's DataLoader.

    python -m benchmarks.loading [--data DIR] [--short] [--json FILE]

DIR (by default the environment variable SADP_DIST_DATA) holds cifar10.zip and imagenet-sample.zip. The
readers take turns, and each reads its whole epoch into contiguous (B, C, H, W) tensors: FFCVLoader about half
of the examples, others and another number every time; FFCV and torch all of them in random order. Ratios are
those of the medians of images a second. Plans are made before the clock starts.

- cifar10: small images stored raw, read as they are.
- imagenet: photographs stored as JPEG with sides of at most 500 pixels, read with random crops resized to
  224.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor, ToTorchImage
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import v2

from sadp_dist import PruningConfig, connect
from sadp_dist.data import ImageSource, open_images
from sadp_dist.loading import FFCVLoader, PruningSampler, pad_crop_flip, write_beton

BATCH = 128
SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SADP_DIST_DATA"))
    parser.add_argument("--short", action="store_true", help="5,000 images of CIFAR-10, fewer rounds")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--workers", type=int, default=1, help="threads or processes that read")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data is missing: give the folder with cifar10.zip and imagenet-sample.zip")

    torch.set_num_threads(1)
    rounds = 5 if options.short else 15
    cifar10 = open_images(options.data / "cifar10.zip", "train")
    if options.short:
        cifar10 = Subset(cifar10, range(0, len(cifar10), 10))
    imagenet = open_images(options.data / "imagenet-sample.zip")
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "cifar10": measure(cifar10, Path(folder, "cifar10.beton"), None, rounds, options.workers),
            "imagenet": measure(imagenet, Path(folder, "imagenet.beton"), SIZE, rounds, options.workers),
            "augment": measure_augment(rounds * 10),
        }
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(
    images: ImageSource, beton: Path, image_size: int | None, rounds: int, workers: int
) -> dict[str, Any]:
    """Images a second of each reader, medians over the rounds, and of writing the file."""
    start = time.perf_counter()
    write_beton(images, beton, max_side=500)
    written = len(images) / (time.perf_counter() - start)

    pruning = PruningConfig(ratio=0.5, max_ratio=0.6, epochs=rounds + 1)
    store = connect("memory:", "benchmark", len(images), pruning)
    store.push(np.arange(len(images)), np.random.default_rng(0).lognormal(size=len(images)), epoch=0)
    sampler = PruningSampler(store, BATCH, rank=0, world_size=1)
    pruned = FFCVLoader(beton, sampler, num_workers=workers, image_size=image_size)
    decoder = RandomResizedCropRGBImageDecoder((SIZE, SIZE)) if image_size else SimpleRGBImageDecoder()
    whole = Loader(
        str(beton),
        BATCH,
        num_workers=workers,
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={"image": [decoder, ToTensor(), ToTorchImage(channels_last=False)]},
    )
    plain = DataLoader(
        Tensors(images, image_size),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
    )
    readers: dict[str, Iterable[Any]] = {"FFCVLoader": pruned, "FFCV": whole, "torch": plain}
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    for epoch in range(rounds + 1):
        sampler.set_epoch(epoch)
        for name, reader in readers.items():
            seconds, read = timed(lambda reader=reader: sum(len(batch[1]) for batch in reader))
            if epoch > 0:  # the first epoch compiles, and starts the processes
                speeds[name].append(read / seconds)
    store.close()
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return {
        "images": len(images),
        "written_per_second": written,
        "images_per_second": medians,
        "ratio_to_ffcv": medians["FFCVLoader"] / medians["FFCV"],
        "ratio_to_torch": medians["FFCVLoader"] / medians["torch"],
    }


class Tensors:
    """Images decoded by PIL, as tensors: what a training script without FFCV reads."""

    def __init__(self, images: ImageSource, image_size: int | None) -> None:
        crop = [v2.RandomResizedCrop(image_size)] if image_size else []
        self._transform = v2.Compose([*crop, v2.PILToTensor()])
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = self._images[index]
        return self._transform(image), label


def measure_augment(repeats: int) -> dict[str, float]:
    """Milliseconds that pad-crop-flip of a batch takes on one thread."""
    images, index = torch.randint(0, 256, (256, 3, 32, 32), dtype=torch.uint8), torch.arange(256)
    seconds = [timed(lambda e=epoch: pad_crop_flip(images, index, e, seed=0))[0] for epoch in range(repeats)]
    return {"batch": 256, "milliseconds": 1e3 * statistics.median(seconds)}


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def show(figures: dict[str, Any]) -> None:
    table = Table(
        "images", "FFCVLoader", "FFCV", "torch", "to FFCV", "to torch", "written", title="images a second"
    )
    for name in ("cifar10", "imagenet"):
        figure = figures[name]
        speeds = [f"{speed:,.0f}" for speed in figure["images_per_second"].values()]
        ratios = [f"{figure[ratio]:.2f}" for ratio in ("ratio_to_ffcv", "ratio_to_torch")]
        table.add_row(
            f"{name}, {figure['images']:,}", *speeds, *ratios, f"{figure['written_per_second']:,.0f}"
        )
    console = Console()
    console.print(table)
    augment = figures["augment"]
    console.print(f"pad-crop-flip of {augment['batch']} images of 32 x 32: {augment['milliseconds']:.2f} ms")


if __name__ == "__main__":
    main()
