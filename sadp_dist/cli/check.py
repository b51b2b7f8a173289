"""``sadp-dist check``."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from sadp_dist.cli.imports import Imports
from sadp_dist.cli.train import Config, Extend, Overrides, Overwrite, Resume, existing_run
from sadp_dist.errors import UsageError
from sadp_dist.terminal import visible


def check(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = False,
    extend: Extend = False,
    overwrite: Overwrite = False,
    imports: Imports = None,
    nnodes: Annotated[
        str,
        typer.Option("--nnodes", help="Number of nodes, as for torchrun.", metavar="N|MIN:MAX"),
    ] = "1",
    nproc_per_node: Annotated[
        int,
        typer.Option("--nproc-per-node", help="Processes on each node, as for torchrun.", min=1),
    ] = 1,
) -> None:
    """Check that a training run can start: its configuration, run directory, GPUs, data and store.

    Takes the arguments of `sadp-dist train` and changes nothing. An error is one line, where torchrun would
    print a traceback of every rank. launch/torchrun.sh runs this check first:

        sadp-dist check configs/digits.yaml store.url=redis://scores --nnodes 1:3 --nproc-per-node 2
    """
    existing = existing_run(resume, overwrite, extend)
    nodes = _range(nnodes)
    from sadp_dist.training.stages import load_stages

    stages = load_stages(config, overrides or [], imports or [], resume or extend)
    from sadp_dist.training.check import check as check_run  # imports torch, which takes seconds
    from sadp_dist.training.resume import existing_by_stage

    for run, of_run in zip(stages, existing_by_stage(stages, existing), strict=True):
        check_run(run, of_run, nodes, nproc_per_node)
    names = ", then ".join(repr(run.name) for run in stages)
    print(visible(f"{config}: run {names} can start"))


def _range(nnodes: str) -> range:
    found = re.fullmatch(r"(\d+)(?::(\d+))?", nnodes)
    if found:
        fewest, most = int(found[1]), int(found[2] or found[1])
        if 1 <= fewest <= most:
            return range(fewest, most + 1)
    raise UsageError(f"--nnodes {nnodes!r} must be a number of nodes, such as 4, or MIN:MAX, such as 1:4")
