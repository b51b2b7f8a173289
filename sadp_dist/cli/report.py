"""``sadp-dist report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from sadp_dist.terminal import Console, escape

CAPTION = (
    "trained on: examples of all epochs. wall time: planning and training, without start-up, evaluation and "
    "checkpoints."
)


def report(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(help="Run directories; all are compared with the first.", metavar="RUN_DIR..."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.html and the figures.",
            metavar="DIR",
            show_default="report/ in the first run directory",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Training images: folder, .zip, parquet or .beton.",
            metavar="SOURCE",
            show_default="data.train of each run",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Subfolder of SOURCE, such as train.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table; write a page only with --out.")
    ] = False,
    no_html: Annotated[bool, typer.Option("--no-html", help="Print the table and write no page.")] = False,
) -> None:
    """Compare runs: print a table, and write an HTML page and PNG files of all figures.

    Ratios and differences refer to the first run. Runs that differ only in their seed are combined, with mean
    and standard deviation:

        sadp-dist report runs/digits-full runs/digits-pruned

    The page is a single file that you can send. It shows the images of the hardest examples if the training
    images are available; name them if they have moved:

        sadp-dist report runs/cifar10 --images cifar10.zip --split train --out report
    """
    from sadp_dist.report import read_run, summary, write_report

    runs = [read_run(run_dir) for run_dir in run_dirs]
    rows = summary(runs)
    page = None
    if not no_html and (out is not None or not as_json):
        page = write_report(runs, out or run_dirs[0] / "report", images, split)
    console = Console(highlight=False)
    if as_json:
        console.print_json(json.dumps(rows))
        return
    console.print(_table(rows))
    if page is not None:
        console.print(f"wrote {page} and its figures as PNG files", markup=False, soft_wrap=True)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption=CAPTION, caption_justify="left")
    for name in ("method", "test accuracy", "trained on", "wall time", "time ratio"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    methods = [
        row["method"] if row["ratio"] == 0 else f"{row['method']}, r = {row['ratio']:g}" for row in rows
    ]
    for row, method in zip(rows, methods, strict=True):
        if methods.count(method) > 1:
            method = Path(row["run"]).name
        table.add_row(
            escape(
                method if row["finished"] else f"{method} ({row['epochs']} of {row['planned_epochs']} epochs)"
            ),
            "-" if row["test_accuracy"] is None else f"{row['test_accuracy']:.2%}",
            f"{row['examples']:,}",
            f"{row['seconds']:,.1f} s",
            "-" if row["time_ratio"] is None else f"{row['time_ratio']:.3f}",
        )
    return table
