"""``sadp-dist plan``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from sadp_dist.atomic_write import atomic_write
from sadp_dist.cli.imports import Imports
from sadp_dist.cli.train import Config, Overrides
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from sadp_dist.training.cost_plan import Proposal
    from sadp_dist.training.step_costs import StepCost


def plan(
    config: Config,
    overrides: Overrides = None,
    imports: Imports = None,
    target_time: Annotated[
        float, typer.Option(help="The share of the full run's time that the run may take, in (0, 1).")
    ] = 0.5,
    out: Annotated[
        Path | None, typer.Option(help="Write the configuration to this file.", metavar="FILE.yaml")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to train for each cost, roughly.", min=0.0)] = 3.0,
) -> None:
    """Measure what training costs on this machine, and propose a curriculum and a pruning ratio.

    Trains some steps of the run with all time steps and with fewer, and with smaller images. Then it proposes
    the mildest change whose expected time is below the target, and writes its configuration:

        sadp-dist plan configs/pays-mnist.yaml --target-time 0.3 --out faster.yaml

    With torchrun it measures all ranks together. Evaluation and checkpoints are not in the times.
    """
    if not 0 < target_time < 1:
        raise UsageError(f"--target-time {target_time:g}: must be a share of the full run's time, in (0, 1)")
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"--out {out}: the folder {out.parent} does not exist; create it first")
    from sadp_dist.training.config import parse_config
    from sadp_dist.training.config_file import read_sections
    from sadp_dist.training.stages import STAGES

    sections = read_sections(config, overrides or [], imports or [])
    if STAGES in sections:
        raise UsageError(f"{config}: has stages, each with its own cost; plan the file of one of them")
    of_run = parse_config(sections, source=str(config))
    from sadp_dist.training.cost_plan import planned_sections, propose
    from sadp_dist.training.step_costs import measured_costs  # imports torch, which takes seconds

    costs, batches, is_first = measured_costs(of_run, seconds)
    if not is_first:
        return
    from sadp_dist.terminal import Console, visible

    console = Console(highlight=False)
    console.print(_cost_table(costs))
    for cost in costs:
        if cost.refusal:
            console.print(cost.refusal, markup=False, soft_wrap=True)
    proposal = propose(costs, of_run.training.epochs, batches, target_time)
    console.print(_proposal_table(proposal))
    planned = planned_sections(sections, proposal)
    parse_config(planned, source="the proposal")
    changed = {
        "training": {"curriculum": planned["training"].get("curriculum", [])},
        "pruning": planned["pruning"],
    }
    if out is None:
        console.print(yaml.safe_dump(changed, sort_keys=False), markup=False, soft_wrap=True)
        return
    head = f"# sadp-dist plan {config} --target-time {target_time:g}: {proposal.share:.2f} expected\n"
    with atomic_write(out) as temporary:
        temporary.write_text(head + yaml.safe_dump(planned, sort_keys=False), encoding="utf-8")
    print(visible(f"wrote {out}; train it with: sadp-dist train {out}"))


def _cost_table(costs: Sequence[StepCost]) -> Table:
    from rich import box
    from rich.table import Table

    full = costs[0].seconds or 1.0
    table = Table(title="Time of a batch", title_justify="left", box=box.SIMPLE)
    for heading in ("T", "image size", "ms", "of the full cost", "waiting for data"):
        table.add_column(heading, justify="right")
    for cost in costs:
        size = "" if cost.image_size is None else f"{cost.image_size} x {cost.image_size}"
        if cost.seconds is None:
            table.add_row(f"{cost.time_steps}", size, "not possible")
        else:
            ms, share = 1000 * cost.seconds, cost.seconds / full
            table.add_row(
                f"{cost.time_steps}", size, f"{ms:.1f}", f"{share:.2f}", f"{min(cost.waiting, 1):.0%}"
            )
    return table


def _proposal_table(proposal: Proposal) -> Table:
    from rich import box
    from rich.table import Table

    from sadp_dist.cli.writing_progress import duration

    pruned = f", r = {proposal.ratio:g}" if proposal.ratio else ", without pruning"
    table = Table(title=f"Proposal{pruned}", title_justify="left", box=box.SIMPLE)
    for heading in ("part", "epochs", "expected", "of the full run"):
        table.add_column(heading, justify="left" if heading == "part" else "right")

    def row(name: str, epochs: int, seconds: float) -> None:
        share = seconds / proposal.full_seconds
        table.add_row(name, f"{epochs:,}", duration(seconds), f"{share:.2f}")

    for part in proposal.parts:
        size = "" if part.cost.image_size is None else f", {part.cost.image_size} x {part.cost.image_size}"
        row(f"T = {part.cost.time_steps}{size}", part.epochs, part.seconds)
    epochs = sum(part.epochs for part in proposal.parts)
    row("together", epochs, proposal.seconds)
    row("full data, full cost", epochs, proposal.full_seconds)
    return table
