"""What `sadp-dist beton` found in a source: files left out, classes, image sizes and modes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from sadp_dist.data import DamagedImage, Examples, ImageSource
from sadp_dist.terminal import Console, escape

SHOWN = 3
"""Names that are listed for each reason, and sizes."""
CLASSES = 20
"""Rows of the table of classes."""
LOOKED_AT = 2_000
"""Images that are opened at most, evenly spread over the source."""


def say_left_out(console: Console, left_out: Mapping[str, Sequence[str]]) -> None:
    """Print a line for each reason for which files were left out, with their number and the first names."""
    for reason, paths in left_out.items():
        if len(paths):
            console.print(
                f"left out, {reason}: {len(paths):,} ({first_of(paths)})", markup=False, soft_wrap=True
            )


def first_of(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(map(str, names[:SHOWN])) + (f" and {more:,} more" if more > 0 else "")


@dataclass
class Survey:
    """What was seen in some examples of a source.

    Attributes:
        looked_at: number of examples.
        sizes: number of examples by size, such as "32 x 32" (width and height), or by shape and dtype.
        modes: number of images by PIL's mode as stored, such as "L" or "RGB"; empty for arrays.
        damaged: what is wrong with the examples that cannot be read.
    """

    looked_at: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)


def survey(examples: Examples) -> Survey:
    """Look at up to `LOOKED_AT` examples, evenly spread."""
    found, size = Survey(), len(examples)
    for index in np.unique(np.linspace(0, size - 1, min(size, LOOKED_AT)).round().astype(int)).tolist():
        found.looked_at += 1
        try:
            example, _ = examples[index]
        except DamagedImage as error:
            name = examples.paths[index] if isinstance(examples, ImageSource) else f"example {index}"
            found.damaged.append(f"{name} ({error.reason})")
            continue
        found.modes.update(_mode(examples, index, example))
        found.sizes[_size(example)] += 1
    return found


def _mode(examples: Any, index: int, example: Any) -> list[str]:
    """Return the mode of an image as it is stored."""
    if isinstance(examples, ImageSource):
        from PIL import Image

        with Image.open(io.BytesIO(examples.encoded(index))) as image:
            return [image.mode]
    return [example.mode] if hasattr(example, "mode") else []


def _size(example: Any) -> str:
    if hasattr(example, "mode"):
        return f"{example.width} x {example.height}"
    array = np.asarray(example)
    return f"{' x '.join(map(str, array.shape))} {array.dtype}"


def show_source(console: Console, examples: Examples, what: str) -> None:
    """Print a table of the classes and one of sizes, modes and problems."""
    console.print(str(examples.name), markup=False, soft_wrap=True)
    console.print(_classes(examples))
    found, left_out = survey(examples), getattr(examples, "left_out", {})
    table = Table(box=box.SIMPLE, show_header=False)
    rows = {
        what: f"{len(examples):,} of {len(examples.classes):,} classes",
        "classes": f"the folders in {folder}" if (folder := getattr(examples, "folder", "")) else "",
        "sizes": _counted(found.sizes),
        "modes": _counted(found.modes),
        "damaged": f"{len(found.damaged):,}: {first_of(found.damaged)}" if found.damaged else "",
        **{
            f"left out, {reason}": f"{len(paths):,}: {first_of(paths)}"
            for reason, paths in left_out.items()
            if len(paths)
        },
    }
    if found.looked_at < len(examples):
        rows["opened"] = f"{found.looked_at:,} {what}, evenly spread, for sizes, modes and damage"
    for name, value in rows.items():
        if value:
            table.add_row(escape(name), escape(value))
    console.print(table)


def _classes(examples: Examples) -> Table:
    counts = np.bincount(examples.labels, minlength=len(examples.classes))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("label", justify="right")
    table.add_column("class")
    table.add_column("examples", justify="right")
    for label, name in enumerate(examples.classes[:CLASSES]):
        table.add_row(str(label), escape(str(name)), f"{counts[label]:,}")
    if len(examples.classes) > CLASSES:
        rest = counts[CLASSES:]
        table.add_row("...", f"{len(rest):,} more classes", f"{rest.min():,} to {rest.max():,} each")
    return table


def _counted(counts: Counter[str]) -> str:
    """Return the most frequent values with their numbers, and how many more there are."""
    if len(counts) == 1:
        return next(iter(counts))
    shown = ", ".join(f"{value}: {count:,}" for value, count in counts.most_common(SHOWN))
    more = len(counts) - SHOWN
    return shown + (f" and {more:,} more" if more > 0 else "")
