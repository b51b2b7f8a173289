"""``sadp-dist reproduce``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sadp_dist.errors import UsageError
from sadp_dist.terminal import Console


class Scale(StrEnum):
    paper = "paper"
    small = "small"


def reproduce(
    names: Annotated[
        list[str],
        typer.Argument(help="Names of tables and figures, such as table3 figure5 sltt.", metavar="NAME..."),
    ],
    scale: Annotated[
        Scale, typer.Option(help="Run the paper's recipes, or small ones that fit two CPU cores.")
    ] = Scale.paper,
    data: Annotated[
        Path,
        typer.Option(
            help="With --scale small: folder with cifar10.zip or its official archive, and for table4 "
            "tiny-imagenet-10.zip.",
            envvar="SADP_DIST_DATA",
            metavar="DIR",
        ),
    ] = Path(),
    runs: Annotated[Path, typer.Option(help="Folder for the run directories.", metavar="DIR")] = Path(
        "runs/reproduce"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results as JSON, Markdown and SVG.",
            metavar="DIR",
            show_default="results/ in the folder of --runs",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the runs, separated by commas.")] = "0,1,2",
    jobs: Annotated[int, typer.Option(help="Number of runs to train at the same time.", min=1)] = 1,
    configs: Annotated[Path, typer.Option(help="Folder with the recipes.", metavar="DIR")] = Path("configs"),
    list_runs: Annotated[
        bool, typer.Option("--list", help="Print the commands of the missing runs and train nothing.")
    ] = False,
) -> None:
    """Reproduce tables and figures of the paper: train their runs and compare the results with the paper.

    On two CPU cores, with a tenth of CIFAR-10:

        sadp-dist reproduce table3 --scale small --data DIR --jobs 2

    With the paper's recipes, on 8 GPUs, one run on each at a time:

        sadp-dist reproduce table3 --jobs 8

    Each run is an ordinary run of `sadp-dist train`, in a folder named after its configuration. Tables share
    runs. A finished run is not trained again, and an interrupted run resumes. On a cluster, --list prints the
    commands of the runs for your queue; call reproduce again when they are done.
    """
    from sadp_dist.choices import check_choice
    from sadp_dist.reproduce import EXPERIMENTS
    from sadp_dist.reproduce.experiment_setting import ExperimentSetting
    from sadp_dist.reproduce.job_runner import run_jobs
    from sadp_dist.reproduce.output import show, write
    from sadp_dist.training.resume import is_done

    for name in names:
        check_choice("NAME", name, EXPERIMENTS)
    setting = ExperimentSetting(scale.value, _numbers(seeds), runs, data, configs)
    console = Console(highlight=False)
    for name in names:
        experiment = EXPERIMENTS[name]
        needed = experiment.jobs(setting)
        for job in needed:
            _ = job.config  # report an error in any recipe before the first run
        setting.prepare(needed)
        if list_runs:
            for job in {job.name: job for job in needed}.values():
                if not is_done(job.run_dir):
                    print(job.command)
            continue
        diverged = run_jobs(needed, 1 if experiment.one_at_a_time else jobs, console)
        result = experiment.result(setting, diverged)
        show(result, console)
        folder = out or runs / "results"
        write(result, name, setting, needed, folder)
        console.print(f"wrote {folder / name}.json, {name}.md and figures", markup=False, soft_wrap=True)


def _numbers(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text!r} must be distinct integers >= 0, such as 0,1,2")
    return seeds
