"""``sadp-dist check``."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from sadp_dist.cli.train import Config, Imports, Overrides, Overwrite, Resume, existing_run
from sadp_dist.errors import UsageError


def check(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    imports: Imports = None,
    nnodes: Annotated[
        str, typer.Option("--nnodes", help="Nodes of the job, as torchrun's.", metavar="N|MIN:MAX")
    ] = "1",
    nproc_per_node: Annotated[
        int, typer.Option("--nproc-per-node", help="Processes on each node, as torchrun's.", min=1)
    ] = 1,
) -> None:
    """See whether a training run can start here: its configuration, directory, GPUs, data and store.

    Takes what `sadp-dist train` takes, and changes nothing. What cannot work is said in one line, before
    torchrun says it at length; launch/torchrun.sh asks this first:

        sadp-dist check configs/digits.yaml store.url=redis://scores --nnodes 1:3 --nproc-per-node 2
    """
    existing = existing_run(resume, overwrite)
    nodes = _range(nnodes)
    from sadp_dist.training.stages import load_stages

    stages = load_stages(config, overrides or [], imports or [], resume)
    from sadp_dist.training.check import check as check_run  # needs torch, for which a mistake did not wait

    for run in stages:
        check_run(run, existing, nodes, nproc_per_node)
    print(f"{config}: run {', then '.join(repr(run.name) for run in stages)} can start")


def _range(nnodes: str) -> range:
    found = re.fullmatch(r"(\d+)(?::(\d+))?", nnodes)
    if found:
        fewest, most = int(found[1]), int(found[2] or found[1])
        if 1 <= fewest <= most:
            return range(fewest, most + 1)
    raise UsageError(f"--nnodes {nnodes!r} must be a number of nodes such as 4, or MIN:MAX such as 1:4")
