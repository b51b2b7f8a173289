"""``sadp-dist stats`` and ``sadp-dist top``: query the store of a live or saved run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from sadp_dist.cli.imports import Imports
from sadp_dist.cli.runs import runs_there
from sadp_dist.cli.stats_table import figures_table
from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.terminal import Console

if TYPE_CHECKING:
    from sadp_dist.store import RunView

TIMEOUT = 10.0
"""Seconds to wait for a store's answer."""

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        help="ray:auto, ray://HOST:PORT, redis://HOST:PORT/DB, a run directory, or a saved store (.npz).",
        metavar="URL|RUN_DIR|FILE",
    ),
]
RunOption = Annotated[str | None, typer.Option("--run", help="Name of the run, if --store holds several.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def stats(
    store: StoreOption,
    run: RunOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds, until Ctrl-C.")] = False,
    imports: Imports = None,
) -> None:
    """Show a run's statistics: examples scored, the latest plan, and the distribution of the scores.

    A live run, whose store is in Ray or Redis:

        sadp-dist stats --store redis://localhost:6379 --run digits-pruned --watch

    A run directory. Every checkpoint contains the store; the newest one is shown:

        sadp-dist stats --store runs/digits-pruned

        sadp-dist stats --store runs --run digits-pruned --json
    """
    if watch and as_json:
        raise UsageError("--watch and --json exclude each other; give one")
    import_modules(imports or [])
    console = Console(highlight=False)
    with _opener(store, run) as open_store:
        if as_json:
            console.print_json(data=open_store().stats().to_dict())
            return
        if not watch:
            console.print(_table(open_store()))
            return
        with Live(_table(open_store()), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(2)
                live.update(_table(open_store()), refresh=True)


def top(
    store: StoreOption,
    run: RunOption = None,
    k: Annotated[int, typer.Option("-k", help="Number of examples.", min=1)] = 10,
    lowest: Annotated[
        bool, typer.Option("--lowest", help="List the lowest values instead of the highest.")
    ] = False,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Rank by the change since the previous score, not by the score."),
    ] = False,
    as_json: JsonOption = False,
    images: Annotated[
        str | None,
        typer.Option(help="Training images: folder, .zip, parquet or .beton.", metavar="SOURCE"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Subfolder of SOURCE, such as train.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --images: draw the images on this contact sheet.", metavar="SHEET.png"),
    ] = None,
    imports: Imports = None,
) -> None:
    """List the examples with the highest scores, the lowest, or the largest changes.

    The 20 highest scores, and the 10 largest changes since the previous score:

        sadp-dist top --store runs/digits-pruned -k 20

        sadp-dist top --store runs/digits-pruned --changed

    A contact sheet of the images with their labels and scores:

        sadp-dist top --store runs/cifar10 -k 50 --images cifar10.zip --split train --out hardest.png
    """
    if (images is None) != (out is None):
        given, missing = ("--images", "--out") if out is None else ("--out", "--images")
        raise UsageError(f"{given} needs {missing}; give both --images SOURCE and --out SHEET.png")
    import_modules(imports or [])
    with _opener(store, run) as open_store:
        opened, by = open_store(), "change" if changed else "score"
        indices, values = opened.top(k, lowest=lowest, by=by)
        scores = opened.scores(indices)
        figures = None if images is None else opened.stats()
    there = ~np.isnan(scores)  # all, unless the run has begun again between the queries
    indices, values, scores = indices[there], values[there], scores[there]
    rows: list[dict[str, Any]] = [
        {"index": int(index), by: float(value), "score": float(score)}
        for index, value, score in zip(indices, values, scores, strict=True)
    ]
    if images is not None and out is not None:
        from sadp_dist.cli.contact_sheet import draw_contact_sheet

        labels = draw_contact_sheet(images, split, indices, values, out, figures)
        for row, label in zip(rows, labels, strict=True):
            row["label"] = label
    console = Console(highlight=False)
    if as_json:
        console.print_json(json.dumps(rows))
        return
    titles = ("smallest changes", "largest changes") if changed else ("lowest scores", "highest scores")
    table = Table(title=titles[not lowest], title_justify="left")
    for column in rows[0] if rows else ("index", by):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    if out is not None:
        console.print(f"wrote {len(rows)} images to {out}", markup=False)


def _table(store: RunView) -> Group:
    recorded = [epoch for epoch in store.history() if epoch.training]
    return figures_table(store.stats().to_dict(), recorded[-1] if recorded else None)


@contextmanager
def _opener(store: str, run: str | None) -> Iterator[Callable[[], RunView]]:
    """Yield a function that returns the run's store: one open connection, or the newest saved file."""
    from sadp_dist.passwords import without_password
    from sadp_dist.store import BACKENDS, attach, list_runs, open_snapshot
    from sadp_dist.training.config_file import import_modules_of_run

    if "://" in store or store.partition(":")[0] in BACKENDS:
        if run is None:
            names = [found["run"] for found in list_runs(store)]
            raise UsageError(f"--store {without_password(store)} needs --run NAME; {runs_there(names)}")
        with attach(store, run, timeout=TIMEOUT) as attached:
            yield lambda: attached
        return

    path = Path(store)
    if not path.exists():
        raise UsageError(
            f"--store {without_password(store)} does not exist; give a URL such as redis://HOST, a run "
            "directory or a saved store"
        )

    folder = path / run if run is not None and (path / run).exists() else path
    import_modules_of_run(folder)  # its pruning rule may be the user's own

    def newest() -> RunView:
        opened = open_snapshot(folder)
        name = opened.stats().run
        if run is not None and run != name:
            raise UsageError(f"--store {store} holds the run {name!r}, not --run {run!r}")
        return opened

    yield newest
