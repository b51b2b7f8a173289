"""``sadp-dist runs`` and ``sadp-dist rm``: the runs that a store in other processes holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sadp_dist.cli.stats_table import ago, show
from sadp_dist.errors import UsageError

StoreUrl = Annotated[
    str, typer.Option("--store", help="ray:auto, ray://HOST:PORT or redis://HOST:PORT/DB.", metavar="URL")
]


def runs(
    store: StoreUrl,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the runs in a store, and how far each is.

    sadp-dist runs --store redis://localhost:6379
    """
    from sadp_dist.passwords import without_password
    from sadp_dist.store import list_runs

    found = sorted(list_runs(store), key=lambda run: str(run["run"]))
    console = Console(highlight=False)
    if as_json:
        console.print_json(data=found)
        return
    if not found:
        console.print(f"{without_password(store)} holds no runs", markup=False)
        return
    table = Table()
    names = list(dict.fromkeys(name for run in found for name in run))
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name == "run" else "right")
    for run in found:
        table.add_row(*(escape(_cell(name, run.get(name))) for name in names))
    console.print(table)


def remove(
    store: StoreUrl,
    run: Annotated[str, typer.Option("--run", help="The run's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a run from a store: its scores, plans and snapshots there. Checkpoints stay.

    sadp-dist rm --store redis://localhost:6379 --run digits-sadp
    """
    from sadp_dist.store import list_runs, remove_run

    known = {found["run"]: found for found in list_runs(store)}
    if run not in known:
        raise UsageError(f"there is no run {run!r}; {runs_there(known)}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"rm asks before it removes {run!r}, and there is no one to ask; add --yes")
        facts = known[run]
        progress = f"N = {show(facts['dataset_size'])}, epoch {show(facts['epoch'])}"
        if not typer.confirm(f"Remove the run {run} ({progress}) and all its scores?"):
            raise typer.Exit(1)
    remove_run(store, run)
    Console(highlight=False).print(f"removed {run}", markup=False)


def runs_there(names: Iterable[str]) -> str:
    """The end of a line about a run that is not there."""
    known = ", ".join(sorted(names))
    return f"the store holds {known}" if known else "the store holds no runs"


def _cell(name: str, value: Any) -> str:
    return ago(value) if name in ("created", "last_snapshot") else show(value)
