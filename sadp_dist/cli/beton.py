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
            help="ImageFolder folder, .zip of one, parquet; with --dataset, a download or its folder.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The .beton file to write.", metavar="OUT.beton")],
    split: Annotated[str | None, typer.Option(help="Sub-folder of SOURCE, such as train.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Public dataset that SOURCE holds, such as cifar10.", metavar="NAME"),
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="With --dataset: check the files' MD5 sums and the number of examples.")
    ] = True,
    image_format: Annotated[
        ImageFormat,
        typer.Option("--format", help="raw pixels, JPEG, or smart: raw where the image is small."),
    ] = ImageFormat.smart,
    max_side: Annotated[
        int | None, typer.Option(help="Shrink images whose longer side has more pixels than this.")
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = QUALITY,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read and encode; as many as cores if left out.")
    ] = None,
) -> None:
    """Write images or frames to a .beton file, FFCV's format, with the index of each example in it.

    CIFAR-10:

        sadp-dist beton cifar10.zip train.beton --split train

    CIFAR-100 from its official archive:

        sadp-dist beton cifar-100-python.tar.gz train.beton --dataset cifar100 --split train

    CIFAR10-DVS, as frames, from the folder of its event files:

        sadp-dist beton cifar10-dvs train.beton --dataset cifar10-dvs --split train

    ImageNet as in FFCV's recipe:

        sadp-dist beton imagenet train.beton --split train --max-side 500
    """
    from sadp_dist.data import DATASETS, Examples, open_dataset, open_images
    from sadp_dist.loading import write_arrays, write_beton

    examples: Examples
    if dataset is None:
        if not verify:
            raise UsageError("--no-verify: only a --dataset is verified; leave it out")
        examples = open_images(source, split)
    elif split is None:
        raise UsageError("--dataset needs --split, such as --split train")
    else:
        examples = open_dataset(dataset, source, split, verify)
    images = dataset is None or DATASETS[dataset].kind == "images"
    if not images and (image_format, max_side, quality) != (ImageFormat.smart, None, QUALITY):
        raise UsageError(
            f"--format, --max-side and --quality are for images; {dataset} has none, leave them out"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{out.parent} cannot be made ({error.strerror}); choose another OUT.beton"
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
