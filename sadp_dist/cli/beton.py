"""``sadp-dist beton``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sadp_dist.cli.dataset_options import dataset_options
from sadp_dist.cli.imports import Imports
from sadp_dist.cli.source_table import SHOWN, say_left_out, show_source
from sadp_dist.cli.writing_progress import writing_progress
from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.terminal import Console

if TYPE_CHECKING:
    from sadp_dist.data import DamagedImage, Examples, ImageSource

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
    out: Annotated[
        Path | None,
        typer.Argument(
            help="The .beton file to write; not needed with --dry-run.",
            metavar="OUT.beton",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Subfolder of SOURCE to read, such as train.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name of the public dataset in SOURCE, such as cifar10.", metavar="NAME"),
    ] = None,
    imports: Imports = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="With --dataset: an option of the dataset, such as seconds=2; may be repeated.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    time_steps: Annotated[
        int | None,
        typer.Option(help="With a --dataset of events: the number of frames of an example.", metavar="T"),
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
    channels: Annotated[
        int,
        typer.Option(
            help="Store images as RGB (3), grey (1) or RGBA (4); the last two need images of one size.",
            metavar="1|3|4",
        ),
    ] = 3,
    image_column: Annotated[
        str | None, typer.Option(help="Parquet column of the images.", show_default="image or img")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Parquet column of the labels.", show_default="label")
    ] = None,
    classes_from: Annotated[
        str | None,
        typer.Option(
            help="Number the labels as this training set does, a .beton file or a source.", metavar="TRAIN"
        ),
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out images that cannot be read, and list them.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show classes, image sizes and problems of SOURCE; write nothing."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that read and encode.", show_default="one per CPU core"),
    ] = None,
) -> None:
    """Convert a dataset to a .beton file, the format that FFCV reads.

    The file holds each example's image (or frames), label and index; and the class names, which files were
    left out and why, and a fingerprint of the content. To see what is in a source first:

        sadp-dist beton cifar10.zip --split train --dry-run

    CIFAR-10 from a .zip of images:

        sadp-dist beton cifar10.zip train.beton --split train

    A test set of its own folder, which may lack a class:

        sadp-dist beton photos-test test.beton --classes-from train.beton

    CIFAR-100 from its official archive:

        sadp-dist beton cifar-100-python.tar.gz train.beton --dataset cifar100 --split train

    CIFAR10-DVS, converted to frames, from the folder of its event files:

        sadp-dist beton cifar10-dvs train.beton --dataset cifar10-dvs --split train

    Recordings (.wav) whose class is in their names:

        sadp-dist beton digits.zip train.beton --dataset wav --split train \\
            --option 'pattern={class}_{speaker}_{number}.wav' --option 'test_files=*_[0-4].wav'

    ImageNet with the image size of FFCV's recipe:

        sadp-dist beton imagenet train.beton --split train --max-side 500
    """
    from sadp_dist.data import DATASETS, DamagedImage, open_dataset

    import_modules(imports or [])
    console = Console(highlight=False)
    if out is None and not dry_run:
        raise UsageError("OUT.beton is missing; give the file to write, or --dry-run to write nothing")
    if channels not in (1, 3, 4):
        raise UsageError(f"--channels {channels}: must be 1 (grey), 3 (RGB) or 4 (RGBA)")
    examples: Examples
    if dataset is None:
        if not verify:
            raise UsageError("--no-verify needs --dataset: other sources are not verified; leave it out")
        if option or time_steps is not None:
            raise UsageError("--option and --time-steps need --dataset; leave them out")
        examples = _open_images(source, split, channels, image_column, label_column, classes_from)
    elif split is None:
        raise UsageError("--dataset needs --split, such as --split train")
    else:
        _refuse_with_dataset(channels, image_column, label_column, classes_from)
        options = dataset_options(dataset, option or [], time_steps)
        examples = open_dataset(dataset, source, split, verify, **options)
    images = dataset is None or DATASETS[dataset].kind == "images"
    what = "images" if images else "examples"
    if not images and (image_format, max_side, quality) != (ImageFormat.smart, None, QUALITY):
        raise UsageError(
            f"--format, --max-side and --quality are for images; {dataset} has no images; leave them out"
        )
    if channels != 3 and (image_format is ImageFormat.jpg or max_side is not None):
        raise UsageError(f"--channels {channels} stores raw pixels; leave out --format jpg and --max-side")
    folder = getattr(examples, "folder", "")
    if folder not in ("", split) and not dry_run:
        console.print(f"the classes are the folders in {folder}", markup=False, soft_wrap=True)
    if skip_damaged:
        examples = _without_damaged(examples, console, workers)
    if dry_run or out is None:
        show_source(console, examples, what)
        return
    from sadp_dist.loading import write_arrays, write_beton  # imports torch, which takes seconds

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {out.parent} cannot be created ({error.strerror}); choose another OUT.beton"
        ) from None
    try:
        with writing_progress(console, f"writing {out.name}", len(examples), what) as progress:
            if images:
                write_beton(
                    examples,
                    out,
                    image_format=image_format.value,
                    max_side=max_side,
                    quality=quality,
                    workers=workers,
                    progress=progress,
                    kind=dataset,
                    channels=channels,
                )
            else:
                write_arrays(examples, out, workers=workers, progress=progress, kind=dataset)
    except DamagedImage as error:
        raise _first_damaged(examples, error, console, workers) from None
    console.print(
        f"wrote {len(examples):,} {what} of {len(examples.classes):,} classes to {out}",
        markup=False,
        soft_wrap=True,
    )
    say_left_out(console, getattr(examples, "left_out", {}))


def _open_images(
    source: str,
    split: str | None,
    channels: int,
    image_column: str | None,
    label_column: str | None,
    classes_from: str | None,
) -> ImageSource:
    from sadp_dist.data import open_images

    classes = None if classes_from is None else class_names_of(classes_from)
    try:
        return open_images(
            source,
            split,
            classes=classes,
            channels=channels,
            image_column=image_column,
            label_column=label_column,
        )
    except UsageError as error:
        said = str(error)
        for name in ("image_column", "label_column", "split"):
            option = f"--{name.replace('_', '-')}"
            said = said.replace(f"{name}='", f"{option} '").replace(f"{name}=", option)
        said = said.replace("image_column and label_column", "--image-column and --label-column")
        raise UsageError(said) from None


def class_names_of(source: str) -> list[str]:
    """Return the class names of a training set: a .beton file, or a source of images.

    Raises:
        UsageError: it cannot be read, or has no class names.
    """
    from sadp_dist.data import open_images

    shown = f"--classes-from {source}"
    if source.endswith(".beton"):
        from sadp_dist.loading import beton_classes

        classes = beton_classes(source)
        if classes is None:
            raise UsageError(
                f"{shown} has no class names: an older version or another program wrote it; write it again "
                "with sadp-dist beton, or give its source"
            )
        return list(classes)
    try:
        return open_images(source).classes
    except UsageError as error:
        try:  # the classes of a source are those of all its splits
            return open_images(source, "train").classes
        except UsageError:
            raise UsageError(f"{shown}: {error}") from None


def _refuse_with_dataset(channels: int, *options: str | None) -> None:
    names = ("--image-column", "--label-column", "--classes-from")
    given = [name for name, value in zip(names, options, strict=True) if value is not None]
    given += ["--channels"] if channels != 3 else []
    if given:
        raise UsageError(f"{given[0]} is for images of your own; leave it out, or leave out --dataset")


def _without_damaged(examples: Examples, console: Console, workers: int | None) -> Examples:
    """Return the examples without the images that cannot be read; each of them is printed."""
    from sadp_dist.data import ImageSource, find_damaged

    if not isinstance(examples, ImageSource):
        raise UsageError("--skip-damaged is for image files; leave it out")
    with writing_progress(console, "looking for damaged images", len(examples), "images") as progress:
        found = find_damaged(examples, workers, progress=progress)
    for index, reason in found.items():
        console.print(f"damaged: {examples.paths[index]} ({reason})", markup=False, soft_wrap=True)
    left = examples.without(found)
    if len(left) == 0:
        raise UsageError(f"{examples.name}: all {len(examples):,} images are damaged; give another SOURCE")
    return left


def _first_damaged(
    examples: Examples, error: DamagedImage, console: Console, workers: int | None
) -> UsageError:
    """Return the error that names the first few damaged images, of which writing found one."""
    from sadp_dist.data import ImageSource, damaged_error, find_damaged

    said = str(error)
    if isinstance(examples, ImageSource):
        with writing_progress(
            console, "looking for more damaged images", len(examples), "images"
        ) as progress:
            found = find_damaged(examples, workers, most=SHOWN, progress=progress)
        if found:
            said = str(damaged_error(examples, found))
    return UsageError(f"{said}, or leave out all such images with --skip-damaged")
