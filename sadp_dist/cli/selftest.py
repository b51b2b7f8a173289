"""``sadp-dist selftest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sadp_dist.errors import UsageError
from sadp_dist.terminal import Console, escape

if TYPE_CHECKING:
    from sadp_dist.selftest.worker import Outcome

STYLES = {"ok": "green", "skipped": "dim", "cut": "yellow", "failed": "bold red"}
MINUTES, REHEARSAL_MINUTES = 10.0, 5.0


def selftest(
    gpu: Annotated[bool, typer.Option("--gpu", help="Test the first GPU of this machine.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Run the same code on the CPU, with tiny sizes.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(help="Time for everything, in minutes.", show_default="10, with --rehearse 5", min=0.1),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with cifar10.zip.", envvar="SADP_DIST_DATA", metavar="DIR"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the record and the log.", metavar="DIR")] = Path(
        "runs/selftest"
    ),
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Run only this part; may be repeated.", metavar="PART"),
    ] = None,
) -> None:
    """Prove a GPU within ten minutes: correctness, cost, then training at equal seconds.

    On a machine with an NVIDIA GPU of Ampere's generation or newer, with a folder that has cifar10.zip:

        sadp-dist selftest --gpu --data DIR

    It needs no network. The parts `correctness`, `cost` and `promise` have a budget each; what a missing
    package or file prevents is skipped, with the reason. After every check the record is written to
    device.json in the folder of --out, so an interrupted run counts. Output of the checks is in device.log.

    Check on the CPU that the command itself works:

        sadp-dist selftest --gpu --rehearse

    The exit status is 1 if a check failed, else 0.
    """
    if not gpu:
        raise UsageError("--gpu is missing, the only device to test; type: sadp-dist selftest --gpu")
    from sadp_dist.choices import check_choice
    from sadp_dist.selftest.part import PARTS
    from sadp_dist.selftest.runner import record_name, run_parts

    for name in only or ():
        check_choice("--only", name, [part.name for part in PARTS])
    if data is not None and not (data / "cifar10.zip").is_file():
        raise UsageError(f"--data {data} has no cifar10.zip; give the folder that has it, or leave it out")
    if not rehearse:
        _need_gpu()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written ({error.strerror}); choose another folder") from None
    console = Console(highlight=False)

    def show(part: str, check: str, outcome: Outcome) -> None:
        style = STYLES[outcome.state]
        console.print(
            f"[{style}]{outcome.state:>8}[/]  [bold]{escape(check)}[/]  {outcome.seconds:.1f} s",
            soft_wrap=True,
        )
        lines = [outcome.reason] if outcome.reason else []
        lines += [f"{name}: {_shown(value)}" for name, value in outcome.figures.items()]
        for line in lines:
            console.print(f"{'':10}{line}", markup=False, soft_wrap=True)

    wanted = [part for part in PARTS if not only or part.name in (*only, "machine")]
    total = minutes if minutes is not None else REHEARSAL_MINUTES if rehearse else MINUTES
    record = run_parts(rehearse=rehearse, minutes=total, data=data, out=out, shown=show, parts=wanted)
    name = record_name(rehearse)
    states = [check["state"] for check in record["checks"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
    console.print(f"{counts} in {record['seconds']:.0f} s; wrote {out / name}.json", soft_wrap=True)
    if "failed" in states:
        raise typer.Exit(1)


def _need_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UsageError(
            "--gpu: torch finds no GPU; sadp-dist doctor may say why, and --rehearse runs on the CPU"
        )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{len(value)} points" if isinstance(value, list) else str(value)
