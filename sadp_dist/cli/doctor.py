"""``sadp-dist doctor``."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sadp_dist import __version__
from sadp_dist.errors import UsageError
from sadp_dist.terminal import Console

if TYPE_CHECKING:
    from sadp_dist.doctor import Finding

STYLES = {"ok": "green", "absent": "dim", "skipped": "dim", "warning": "yellow", "broken": "bold red"}
ADVICE = {"absent": "to install", "warning": "to improve", "broken": "to fix"}


def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(help="Also check what this configuration needs.", metavar="CONFIG.yaml"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Values that override the file, as in train.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", help="Check the store at this URL: redis://, rediss:// or ray:.", metavar="URL"
        ),
    ] = None,
    dataset_size: Annotated[
        int | None,
        typer.Option("--dataset-size", help="Check that the store has memory for N examples.", min=1),
    ] = None,
    beton: Annotated[
        list[Path] | None,
        typer.Option("--beton", help="Check this .beton file; may be repeated.", metavar="FILE"),
    ] = None,
    nproc_per_node: Annotated[
        int | None,
        typer.Option(
            "--nproc-per-node",
            help="Processes of the run on this machine, as for torchrun.",
            show_default="one per GPU, or 1",
            min=1,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Run only the check of this name; may be repeated.", metavar="CHECK"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Report what works, what is missing or broken, and the command that fixes it.

    Check this Python and this machine:

        sadp-dist doctor

    Check also what a configuration, a store or a .beton file needs:

        sadp-dist doctor configs/digits.yaml store.url=redis://localhost:6379 --nproc-per-node 2

        sadp-dist doctor --store redis://localhost:6379 --dataset-size 1281167

        sadp-dist doctor --beton data/digits/train.beton

        sadp-dist doctor --only "shared memory"

    Checking Redis creates a run of 16 examples there and removes it. The exit status is 1 if something that
    you need is broken, else 0; warnings do not change it.
    """
    from sadp_dist.doctor import CHECKS, DoctorOptions, Status, run_checks

    known = [check.name for check in CHECKS]
    for name in only or known:
        if name not in known:
            raise UsageError(f"--only {name!r} is not a check; choose from: {', '.join(known)}")
    options = DoctorOptions(
        config, tuple(overrides or ()), store, dataset_size, tuple(beton or ()), nproc_per_node
    )
    console = Console(highlight=False, soft_wrap=True)
    found = run_checks(options, [check for check in CHECKS if check.name in (only or known)])
    findings = list(found if as_json else _printed(found, console))
    if not findings:
        raise UsageError("--only: these checks need CONFIG.yaml, --store or --beton; give what to check")
    if as_json:
        system = {
            "sadp_dist": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        console.print_json(data={**system, "checks": [asdict(finding) for finding in findings]})
    else:
        counts = Counter(finding.state for finding in findings)
        console.print(
            ", ".join(f"{counts[state]} {state}" for state in Status if counts[state]), style="bold"
        )
    if any(finding.state is Status.BROKEN for finding in findings):
        raise typer.Exit(1)


def _printed(findings: Iterator[Finding], console: Console) -> Iterator[Finding]:
    """Print each finding and pass it on."""
    for finding in findings:
        style = STYLES[finding.state]
        console.print(
            f"[{style}]{finding.state:>8}[/]  [bold]{escape(finding.name)}[/]: {escape(finding.found)}"
        )
        if finding.mend is not None:
            console.print(f"{ADVICE[finding.state]:>18}: {escape(finding.mend)}")
        yield finding
