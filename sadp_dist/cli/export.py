"""``sadp-dist export``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from sadp_dist.terminal import Console

if TYPE_CHECKING:
    from sadp_dist.training.export import Exported


def export(
    run_dir: Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN_DIR")],
    out: Annotated[Path, typer.Argument(help="The .npz file to write.", metavar="OUT.npz")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Export a run's network with weights of at most 8 bits, and compare its size and test accuracy.

    The weights come from the newest checkpoint:

        sadp-dist export runs/digits digits.npz

    A run with `compression.method=qat` keeps the quantisation levels it trained with. The weights of any
    other run are quantised to 8 bits now. The test set must still be where the run read it.
    """
    from sadp_dist.training.export import export_run

    exported = export_run(run_dir, out)
    console = Console(highlight=False)
    if as_json:
        console.print_json(json.dumps(asdict(exported)))
        return
    console.print(_table(exported))
    if not exported.trained_so:
        console.print(
            "The run trained without quantisation; its weights were quantised to 8 bits after training. If "
            "that loses too much accuracy, train with compression.method=qat.",
            soft_wrap=True,
        )
    console.print(f"wrote {out}", markup=False, soft_wrap=True)


def _table(exported: Exported) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("network", "bytes", "size ratio", "test accuracy"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    table.add_row("float32", f"{exported.float_bytes:,}", "1.000", f"{exported.float_accuracy:.2%}")
    ratio = exported.bytes / exported.float_bytes
    table.add_row("exported", f"{exported.bytes:,}", f"{ratio:.3f}", f"{exported.accuracy:.2%}")
    return table
