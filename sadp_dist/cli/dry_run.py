"""What ``sadp-dist train --dry-run`` prints."""

from __future__ import annotations

import os

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sadp_dist.training.config import TrainConfig
from sadp_dist.training.dry_run import DryRun, dry_run


def show_dry_run(config: TrainConfig) -> None:
    """Take the step and print the table; rank 0 prints."""
    found = dry_run(config)
    if os.environ.get("RANK", "0") != "0":
        return
    console = Console(highlight=False)
    console.print(dry_run_table(found))
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)


def dry_run_table(found: DryRun) -> Table:
    """Two columns: what, and how much of it."""
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
        "scored": _scored(found),
        "batch": f"{training.batch_size:,}",
        "epochs": f"{found.tracking} of tracking, then {len(sizes):,}"
        if found.tracking
        else f"{len(sizes):,}",
        "examples an epoch": _range(sizes),
        "steps an epoch": _range([found.steps(size) for size in sizes]),
        "steps in all": f"{found.steps_in_all:,}",
        "trained on in all": f"{found.examples:,}, full data {found.examples_of_full_data:,}",
        "time, to full data": f"about {abs(found.time_saved):.1%} {saved}, by the number of examples",
        "one step": f"{_loss(found)}{found.step_seconds:.1f} s the first time",
    }
    if found.memory is not None:
        rows["GPU memory"] = f"{found.memory / 2**30:.2f} GiB at most"
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
    """The rule, and what is set for it."""
    learning = found.config.learning.to_dict()
    rule = learning.pop("rule")
    return ", ".join([rule, *(f"{key}={value}" for key, value in learning.items() if value is not None)])


def _hyperparameters(found: DryRun) -> str:
    pruning = found.config.pruning
    if pruning.method == "full":
        return ""
    max_ratio = "" if pruning.max_ratio is None else f", r_max = {pruning.max_ratio:g}"
    floor = "" if pruning.min_probability == 0 else f", β = {pruning.min_probability:g}"
    return f", r = {pruning.ratio:g}{max_ratio}{floor}"


def _scored(found: DryRun) -> str:
    if found.score is None:
        return "nothing"
    if not found.layers:
        return found.score
    layers = found.layers
    names = ", ".join(layers) if len(layers) <= 4 else f"{layers[0]} to {layers[-1]}"
    return f"{found.score} of {len(layers)} layer{'s' if len(layers) > 1 else ''}: {names}"


def _range(numbers: list[int] | tuple[int, ...]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{first:,}" if min(numbers) == max(numbers) else f"{first:,} in the first, {last:,} in the last"


def _loss(found: DryRun) -> str:
    return "no example in the first epoch, " if found.loss is None else f"loss {found.loss:.3f}, "
