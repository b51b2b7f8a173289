"""``sadp-dist doctor``."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sadp_dist import __version__
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.doctor import Finding

STYLES = {"ok": "green", "absent": "dim", "skipped": "dim", "warning": "yellow", "broken": "bold red"}
MENDING = {"absent": "to have it", "warning": "better", "broken": "mend it"}


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="Look at what this run needs, too.", metavar="CONFIG.yaml")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Values that replace the file's, as with train.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", help="Look at the store at this URL: redis://, rediss:// or ray:.", metavar="URL"
        ),
    ] = None,
    dataset_size: Annotated[
        int | None, typer.Option("--dataset-size", help="N: has the store room for so many examples?", min=1)
    ] = None,
    beton: Annotated[
        list[Path] | None,
        typer.Option("--beton", help="Look at this .beton file; may be repeated.", metavar="FILE"),
    ] = None,
    nproc_per_node: Annotated[
        int | None,
        typer.Option("--nproc-per-node", help="Processes of the run on this machine, as torchrun's.", min=1),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Make this check alone, by its name; may be repeated.", metavar="CHECK"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Say what is installed and works, what is missing or broken, and the command that mends it.

    This Python and this machine; beside them what a run, a store or a file needs:

        sadp-dist doctor

        sadp-dist doctor configs/digits.yaml store.url=redis://localhost:6379 --nproc-per-node 2

        sadp-dist doctor --store redis://localhost:6379 --dataset-size 1281167

        sadp-dist doctor --beton data/digits/train.beton

        sadp-dist doctor --only "shared memory"

    To look at a Redis, a run of 16 examples is begun there and removed again. Exit status 1 if something is
    broken that is needed, 0 if all is well or only not as good as it could be.
    """
    from sadp_dist.doctor import CHECKS, DoctorOptions, Status, run_checks

    known = [check.name for check in CHECKS]
    for name in only or known:
        if name not in known:
            raise UsageError(f"--only {name!r} is not a check; there are: {', '.join(known)}")
    options = DoctorOptions(
        config, tuple(overrides or ()), store, dataset_size, tuple(beton or ()), nproc_per_node
    )
    console = Console(highlight=False, soft_wrap=True)
    looking = run_checks(options, [check for check in CHECKS if check.name in (only or known)])
    findings = list(looking if as_json else _printed(looking, console))
    if not findings:
        raise UsageError("--only names nothing that can be looked at without --store, --beton or CONFIG.yaml")
    if as_json:
        about = {
            "sadp_dist": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        console.print_json(data={**about, "checks": [asdict(finding) for finding in findings]})
    else:
        counts = Counter(finding.state for finding in findings)
        console.print(
            ", ".join(f"{counts[state]} {state}" for state in Status if counts[state]), style="bold"
        )
    if any(finding.state is Status.BROKEN for finding in findings):
        raise typer.Exit(1)


def _printed(findings: Iterator[Finding], console: Console) -> Iterator[Finding]:
    """Each finding, once it has been printed."""
    for finding in findings:
        style = STYLES[finding.state]
        console.print(
            f"[{style}]{finding.state:>8}[/]  [bold]{escape(finding.name)}[/]: {escape(finding.found)}"
        )
        if finding.mend is not None:
            console.print(f"{MENDING[finding.state]:>18}: {escape(finding.mend)}")
        yield finding
