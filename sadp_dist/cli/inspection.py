"""``sadp-dist stats`` and ``sadp-dist top``: questions to a store, or to the one that a run has saved."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.store import Store

StoreOption = Annotated[
    str,
    typer.Option("--store", help="A run directory, or a store that a run has saved.", metavar="RUN_DIR|FILE"),
]
RunOption = Annotated[
    str | None, typer.Option("--run", help="The run's name, where --store is a directory of runs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def stats(
    store: StoreOption,
    run: RunOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Show what a run's store knows: examples scored, how the last epoch was drawn, the spread of the scores.

    A run saves its store with every checkpoint; what is shown is as of the newest one:

        sadp-dist stats --store runs/digits-sadp

        sadp-dist stats --store runs --run digits-sadp --json
    """
    console = Console(highlight=False)
    if not watch:
        figures = _stats(store, run)
        console.print_json(data=figures) if as_json else console.print(_stats_table(figures))
        return
    if as_json:
        raise UsageError("--watch shows a table; leave out --json")
    with Live(_stats_table(_stats(store, run)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(2)
            live.update(_stats_table(_stats(store, run)), refresh=True)


def top(
    store: StoreOption,
    run: RunOption = None,
    k: Annotated[int, typer.Option("-k", help="How many examples.", min=1)] = 10,
    lowest: Annotated[
        bool, typer.Option("--lowest", help="The lowest scores instead of the highest.")
    ] = False,
    as_json: JsonOption = False,
    images: Annotated[
        str | None,
        typer.Option(help="The images that were trained on: folder, .zip or parquet.", metavar="SOURCE"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Sub-folder of SOURCE, such as train.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw the images on a contact sheet.", metavar="SHEET.png")
    ] = None,
) -> None:
    """List the examples with the highest (or lowest) scores, and draw them.

    A number of them, or on a contact sheet with their images, labels and scores:

        sadp-dist top --store runs/digits-sadp -k 20

        sadp-dist top --store runs/cifar10 -k 50 --images cifar10.zip --split train --out hardest.png
    """
    if (images is None) != (out is None):
        raise UsageError("--images and --out go together: where the images are, and where the sheet goes")
    with _open(store, run) as opened:
        indices, scores = opened.top(k, lowest=lowest)
    rows: list[dict[str, Any]] = [
        {"index": int(i), "score": float(s)} for i, s in zip(indices, scores, strict=True)
    ]
    if images is not None and out is not None:
        from sadp_dist.cli.contact_sheet import draw_contact_sheet

        labels = draw_contact_sheet(images, split, indices, scores, out)
        for row, label in zip(rows, labels, strict=True):
            row["label"] = label
    console = Console(highlight=False)
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table(title=f"{'lowest' if lowest else 'highest'} scores", title_justify="left")
    for column in rows[0] if rows else ("index", "score"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    if out is not None:
        console.print(f"drew {len(rows)} images on {out}", markup=False)


def _open(store: str, run: str | None) -> Store:
    from sadp_dist.store import HOMES, open_snapshot

    scheme, colon, _ = store.partition(":")
    if colon and scheme in HOMES:
        raise UsageError(f"--store {store} lives in the processes that train; give the run's directory")
    path = Path(store)
    opened = open_snapshot(path / run if run is not None and (path / run).exists() else path)
    name = opened.stats().run
    if run is not None and run != name:
        raise UsageError(f"--store {store} holds the run {name!r}, not {run!r}")
    return opened


def _stats(store: str, run: str | None) -> dict[str, Any]:
    with _open(store, run) as opened:
        return opened.stats().to_dict()


def _stats_table(figures: dict[str, Any]) -> Group:
    table = Table(title=escape(f"run {figures['run']}"), title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in figures.items():
        if name not in ("run", "score_histogram"):
            table.add_row(name.replace("_", " "), _show(value))
    return Group(table, _histogram(figures["score_histogram"]))


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {_show(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _histogram(histogram: dict[str, list[float]] | None, width: int = 40) -> Text:
    if not histogram or not any(histogram["counts"]):
        return Text("no scores yet", style="dim")
    most = max(histogram["counts"])
    lines = [
        f"{low:>10.3g} .. {high:<10.3g} {'█' * round(width * count / most)} {count:,}"
        for low, high, count in zip(
            histogram["edges"][:-1], histogram["edges"][1:], histogram["counts"], strict=True
        )
    ]
    return Text("scores\n" + "\n".join(lines))
