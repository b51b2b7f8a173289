"""``sadp-dist beton``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich import print as rprint


class ImageFormat(StrEnum):
    raw = "raw"
    jpg = "jpg"
    smart = "smart"


def beton(
    source: Annotated[
        str, typer.Argument(help="ImageFolder folder, .zip of one, or parquet file.", metavar="SOURCE")
    ],
    out: Annotated[Path, typer.Argument(help="The .beton file to write.", metavar="OUT.beton")],
    split: Annotated[str | None, typer.Option(help="Sub-folder of SOURCE, such as train.")] = None,
    image_format: Annotated[
        ImageFormat, typer.Option("--format", help="raw pixels, JPEG, or smart: raw unless that is large.")
    ] = ImageFormat.raw,
    max_side: Annotated[
        int | None, typer.Option(help="Shrink images whose longer side exceeds this, in pixels.")
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = 90,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read and encode; default: one a core.")
    ] = None,
) -> None:
    """Write images to a .beton file, FFCV's format, with the index of each example in it.

    CIFAR-10, 32x32, as raw pixels:

        sadp-dist beton cifar10.zip data/cifar10/train.beton --split train

    ImageNet as in FFCV's recipe:

        sadp-dist beton imagenet data/imagenet/train.beton --split train --format smart --max-side 500
    """
    from sadp_dist.loading.beton import write_beton

    count = write_beton(
        source,
        out,
        split=split,
        image_format=image_format.value,
        max_side=max_side,
        quality=quality,
        workers=workers,
    )
    rprint(f"wrote {count:,} images to {out}")
