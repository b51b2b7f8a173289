"""``sadp-dist beton``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from sadp_dist.errors import UsageError

QUALITY = 90


class ImageFormat(StrEnum):
    raw = "raw"
    jpg = "jpg"
    smart = "smart"


def beton(
    source: Annotated[
        str,
        typer.Argument(
            help="Image folder (CLASS/IMAGE), a .zip of one, or parquet. With --dataset: its download.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The .beton file to write.", metavar="OUT.beton")],
    split: Annotated[str | None, typer.Option(help="Subfolder of SOURCE to read, such as train.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name of the public dataset in SOURCE, such as cifar10.", metavar="NAME"),
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="With --dataset: check MD5 sums and the number of examples.")
    ] = True,
    image_format: Annotated[
        ImageFormat,
        typer.Option("--format", help="Store raw pixels or JPEG; smart stores small images raw."),
    ] = ImageFormat.smart,
    max_side: Annotated[
        int | None, typer.Option(help="Shrink images whose longer side exceeds this, in pixels.")
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = QUALITY,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that read and encode.", show_default="one per CPU core"),
    ] = None,
) -> None:
    """Convert a dataset to a .beton file, the format that FFCV reads.

    The file holds each example's image (or frames), label and index.

    CIFAR-10 from a .zip of images:

        sadp-dist beton cifar10.zip train.beton --split train

    CIFAR-100 from its official archive:

        sadp-dist beton cifar-100-python.tar.gz train.beton --dataset cifar100 --split train

    CIFAR10-DVS, converted to frames, from the folder of its event files:

        sadp-dist beton cifar10-dvs train.beton --dataset cifar10-dvs --split train

    ImageNet with the image size of FFCV's recipe:

        sadp-dist beton imagenet train.beton --split train --max-side 500
    """
    from sadp_dist.data import DATASETS, Examples, open_dataset, open_images
    from sadp_dist.loading import write_arrays, write_beton

    examples: Examples
    if dataset is None:
        if not verify:
            raise UsageError("--no-verify needs --dataset: other sources are not verified; leave it out")
        examples = open_images(source, split)
    elif split is None:
        raise UsageError("--dataset needs --split, such as --split train")
    else:
        examples = open_dataset(dataset, source, split, verify)
    images = dataset is None or DATASETS[dataset].kind == "images"
    if not images and (image_format, max_side, quality) != (ImageFormat.smart, None, QUALITY):
        raise UsageError(
            f"--format, --max-side and --quality are for images; {dataset} has no images; leave them out"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {out.parent} cannot be created ({error.strerror}); choose another OUT.beton"
        ) from None
    console = Console(highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(f"writing {out.name}", total=len(examples))

        def progress(written: int) -> None:
            bars.advance(bar, written)

        if images:
            write_beton(
                examples,
                out,
                image_format=image_format.value,
                max_side=max_side,
                quality=quality,
                workers=workers,
                progress=progress,
            )
        else:
            write_arrays(examples, out, workers=workers, progress=progress)
    what, classes = "images" if images else "examples", len(examples.classes)
    console.print(f"wrote {len(examples):,} {what} of {classes:,} classes to {out}", markup=False)
