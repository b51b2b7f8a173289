"""``sadp-dist train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sadp_dist.cli import log_format
from sadp_dist.cli.imports import Imports
from sadp_dist.errors import AgreedError, UsageError

Config = Annotated[
    Path,
    typer.Argument(help="Configuration of the run; configs/ has ready ones.", metavar="CONFIG.yaml"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Values that override the file, such as pruning.ratio=0.7 seed=1.",
        metavar="SECTION.KEY=VALUE",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue from the newest checkpoint, if there is one.")
]
Extend = Annotated[
    bool,
    typer.Option("--extend", help="As --resume, with more epochs than the run had: training.epochs=N."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the run that is in the run directory.")]


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = False,
    extend: Extend = False,
    overwrite: Overwrite = False,
    imports: Imports = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build the run and take one step; write nothing.")
    ] = False,
    log_format: log_format.Option = None,
) -> None:
    """Train a network, each epoch on the subset that the scores select.

    One process:

        sadp-dist train configs/digits.yaml

    Two processes on this machine, one per GPU if there are GPUs:

        torchrun --nproc-per-node 2 -m sadp_dist train configs/digits.yaml

    The same recipe on the full data, and with random pruning:

        sadp-dist train configs/digits.yaml name=digits-full pruning.method=full

        sadp-dist train configs/digits.yaml name=digits-random pruning.method=random

    Show what a run will do, and take one step. Random data replaces a public dataset that is missing:

        sadp-dist train configs/cifar10-resnet18.yaml --dry-run

    A file with `stages:` lists several runs; each starts from the weights of the one before. An override
    applies to all stages, or to the stage that it names:

        sadp-dist train configs/imagenet-sew-resnet34-chain.yaml finetune.training.epochs=5

    After a crash, the same command with --resume continues in the middle of the epoch. The data and the run
    directory may have moved. --extend trains on for more epochs; the schedules then span all of them:

        sadp-dist train configs/digits.yaml training.epochs=60 --extend

    To view a run, use `sadp-dist report RUN_DIR`, `sadp-dist stats --store RUN_DIR` or
    `tensorboard --logdir RUN_DIR`.
    """
    existing = existing_run(resume, overwrite, extend)
    from sadp_dist.training.stages import load_stages

    try:
        stages = load_stages(config, overrides or [], imports or [], resume or extend)
    except UsageError as error:  # every rank reads the same file
        raise AgreedError(str(error)) from None
    if dry_run:
        from sadp_dist.cli.dry_run import show_dry_run

        for stage in stages:
            show_dry_run(stage)
        return
    from sadp_dist.training.run import train_stages  # imports torch, which takes seconds

    train_stages(stages, existing)


def existing_run(
    resume: bool, overwrite: bool, extend: bool
) -> Literal["refuse", "resume", "extend", "overwrite"]:
    """Return what to do with a run that is already in the run directory."""
    if overwrite and (resume or extend):
        raise AgreedError(
            f"{'--resume' if resume else '--extend'} and --overwrite exclude each other; give one"
        )
    return "extend" if extend else "resume" if resume else "overwrite" if overwrite else "refuse"
