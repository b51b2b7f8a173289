"""``sadp-dist runs`` and ``sadp-dist rm``: list and remove the runs in Redis or Ray."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sadp_dist.cli.stats_table import ago, epoch_of, show
from sadp_dist.errors import UsageError
from sadp_dist.terminal import Console, escape, visible

StoreUrl = Annotated[
    str, typer.Option("--store", help="ray:auto, ray://HOST:PORT or redis://HOST:PORT/DB.", metavar="URL")
]
UNSHOWN = ("epochs", "since")
"""Facts that are shown in the cells of others."""


def runs(
    store: Annotated[
        str,
        typer.Option(
            "--store",
            help="ray:auto, ray://HOST:PORT, redis://HOST:PORT/DB, or a folder of run directories.",
            metavar="URL|FOLDER",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the runs in a store or a folder: done, running or stopped, and at which epoch.

    The runs in a Redis server, and those in a folder:

        sadp-dist runs --store redis://localhost:6379

        sadp-dist runs --store runs
    """
    from sadp_dist.passwords import without_password

    found = sorted(_found_in(store), key=lambda run: str(run["run"]))
    console = Console(highlight=False)
    if as_json:
        console.print_json(data=found)
        return
    if not found:
        console.print(f"{without_password(store)} holds no runs", markup=False)
        return
    table = Table()
    names = [name for name in dict.fromkeys(name for run in found for name in run) if name not in UNSHOWN]
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name in ("run", "state") else "right")
    for run in found:
        table.add_row(*(escape(_cell(name, run)) for name in names))
    console.print(table)


def _found_in(store: str) -> list[dict[str, Any]]:
    from sadp_dist.store import BACKENDS, list_runs

    if "://" in store or store.partition(":")[0] in BACKENDS or not Path(store).is_dir():
        return list_runs(store)
    from sadp_dist.report.runs_in_folder import runs_in_folder

    return runs_in_folder(Path(store))


def remove(
    store: StoreUrl,
    run: Annotated[str, typer.Option("--run", help="Name of the run to remove.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a run from a store: its scores, plans and snapshots.

    The run directory and its checkpoints are kept:

        sadp-dist rm --store redis://localhost:6379 --run digits-pruned
    """
    from sadp_dist.store import list_runs, remove_run

    known = {found["run"]: found for found in list_runs(store)}
    if run not in known:
        raise UsageError(f"--run {run!r} does not exist; {runs_there(known)}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"removing the run {run!r} needs confirmation, and the input is not a terminal; add --yes"
            )
        facts = known[run]
        progress = f"N = {show(facts['dataset_size'])}, epoch {epoch_of(facts['epoch'], facts.get('epochs'))}"
        if not typer.confirm(f"Remove the run {visible(run)} ({progress}) and all its scores?"):
            raise typer.Exit(1)
    remove_run(store, run)
    Console(highlight=False).print(f"removed {run}", markup=False)


def runs_there(names: Iterable[str]) -> str:
    """Return which runs a store holds, as the end of a message about a missing run."""
    known = ", ".join(sorted(names))
    return f"the store holds {known}" if known else "the store holds no runs"


def _cell(name: str, run: Mapping[str, Any]) -> str:
    value = run.get(name)
    if name == "epoch":
        return epoch_of(value, run.get("epochs"))
    if name == "state":
        return str(value or "-") if value in (None, "running") else f"{value} {ago(run.get('since'))}"
    return ago(value) if name in ("created", "last_snapshot") else show(value)
