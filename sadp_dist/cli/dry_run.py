"""What ``sadp-dist train --dry-run`` prints."""

from __future__ import annotations

import os

from rich import box
from rich.table import Table

from sadp_dist.terminal import Console, escape
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.dry_run import DryRun, dry_run


def show_dry_run(config: TrainConfig) -> None:
    """Take one training step and print a table of what the run will do, on rank 0."""
    found = dry_run(config)
    if os.environ.get("RANK", "0") != "0":
        return
    console = Console(highlight=False)
    console.print(dry_run_table(found))
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)


def dry_run_table(found: DryRun) -> Table:
    """Return the table of a dry run: names and values."""
    training, pruning = found.config.training, found.config.pruning
    sizes, N = found.subset_sizes, found.dataset_size
    saved = "saved" if found.time_saved >= 0 else "more"
    rows = {
        "network": f"{found.config.network.name}, {found.parameters:,} parameters, "
        f"T = {found.config.network.time_steps}",
        "examples": f"{N:,} of {' x '.join(map(str, found.shape))}, {found.classes:,} classes",
        "method": f"{pruning.method}{_hyperparameters(found)}",
        "learning": _learning(found),
        "compression": found.config.compression.method,
        "score": _scored(found),
        "batch size": f"{training.batch_size:,}",
        "epochs": f"{found.tracking} of tracking, then {len(sizes):,}"
        if found.tracking
        else f"{len(sizes):,}",
        "curriculum": _curriculum(found),
        "examples per epoch": _range(sizes),
        "steps per epoch": _range([found.steps(size) for size in sizes]),
        "total steps": f"{found.steps_in_all:,}",
        "total examples": f"{found.examples:,}, on full data {found.examples_of_full_data:,}",
        "time against full data": f"about {abs(found.time_saved):.1%} {saved}, by the number of examples"
        f"{' and time steps' if training.curriculum else ''}",
        "first step": f"{_loss(found)}{found.step_seconds:.1f} s",
    }
    if found.memory is not None:
        rows["peak GPU memory"] = f"{found.memory / 2**30:.2f} GiB"
    table = Table(
        title=escape(f"Dry run of {found.config.name}"),
        title_justify="left",
        box=box.SIMPLE,
        show_header=False,
    )
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _learning(found: DryRun) -> str:
    """Return the learning rule and its options."""
    learning = found.config.learning.to_dict()
    rule = learning.pop("rule")
    return ", ".join([rule, *(f"{key}={value}" for key, value in learning.items() if value is not None)])


def _curriculum(found: DryRun) -> str:
    """Return what the epochs of each phase after tracking are like."""
    phases = [phase for phase in found.phases.all if phase.of_curriculum]
    return "; ".join(f"{phase.in_words} until epoch {phase.end:,}" for phase in phases) or "none"


def _hyperparameters(found: DryRun) -> str:
    pruning = found.config.pruning
    if pruning.method == "full":
        return ""
    max_ratio = "" if pruning.max_ratio is None else f", r_max = {pruning.max_ratio:g}"
    floor = ""
    if pruning.min_probability > 0 and pruning.rule.floor(1, 1) is not None:
        unit = " S / N" if pruning.floor == "relative" else ""
        floor = f", β = {pruning.min_probability:g}{unit}"
    return f", r = {pruning.ratio:g}{max_ratio}{floor}"


def _scored(found: DryRun) -> str:
    if found.score is None:
        return "none"
    if not found.layers:
        return found.score
    layers = found.layers
    names = ", ".join(layers) if len(layers) <= 4 else f"{layers[0]} to {layers[-1]}"
    return f"{found.score} of {len(layers)} layer{'s' if len(layers) > 1 else ''}: {names}"


def _range(numbers: list[int] | tuple[int, ...]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{first:,}" if min(numbers) == max(numbers) else f"{first:,} (first) to {last:,} (last)"


def _loss(found: DryRun) -> str:
    return "the first epoch is empty, " if found.loss is None else f"loss {found.loss:.3f}, "
