"""``sadp-dist train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sadp_dist.errors import AgreedError, UsageError

Config = Annotated[
    Path, typer.Argument(help="The run's YAML file; configs/ holds ready ones.", metavar="CONFIG.yaml")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Values that replace the file's, such as pruning.ratio=0.7 seed=1.",
        metavar="SECTION.KEY=VALUE",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the run's newest checkpoint, if it has one.")
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--imports",
        help="A module of your own that registers rules, scores, networks and so on; give it once for each.",
        metavar="MODULE",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away the run that the directory holds.")]


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    imports: Imports = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything and take one step; write nothing.")
    ] = False,
) -> None:
    """Train a network, each epoch on the subset that the scores of the last ones select.

    One process:

        sadp-dist train configs/digits.yaml

    Two processes on this machine (one per GPU, where there are GPUs):

        torchrun --nproc-per-node 2 -m sadp_dist train configs/digits.yaml

    The same recipe on the full data, and with random pruning:

        sadp-dist train configs/digits.yaml name=digits-full pruning.method=full

        sadp-dist train configs/digits.yaml name=digits-random pruning.method=random

    What a run will be, and one step of it; random examples stand in for a public dataset that is not here:

        sadp-dist train configs/cifar10-resnet18.yaml --dry-run

    A file with `stages:` names several runs, each from the weights of the one before. Values are for all of
    them, or for one:

        sadp-dist train configs/imagenet-sew-resnet34-chain.yaml finetune.training.epochs=5

    After a crash or a kill, the same command with --resume goes on in the middle of the epoch. Look at a run
    with `sadp-dist report RUN_DIR`, `sadp-dist stats --store RUN_DIR` and `tensorboard --logdir RUN_DIR`.
    """
    existing = existing_run(resume, overwrite)
    from sadp_dist.training.stages import load_stages

    try:
        stages = load_stages(config, overrides or [], imports or [], resume)
    except UsageError as error:  # every rank reads the same file
        raise AgreedError(str(error)) from None
    if dry_run:
        from sadp_dist.cli.dry_run import show_dry_run

        for stage in stages:
            show_dry_run(stage)
        return
    from sadp_dist.training.run import train_stages  # needs torch, for which a mistake did not wait

    train_stages(stages, existing)


def existing_run(resume: bool, overwrite: bool) -> Literal["refuse", "resume", "overwrite"]:
    """What the options say about a run that the directory already holds."""
    if resume and overwrite:
        raise AgreedError("--resume and --overwrite exclude each other; give one")
    return "resume" if resume else "overwrite" if overwrite else "refuse"
