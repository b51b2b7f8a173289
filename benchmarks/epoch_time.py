"""Does an epoch with pruning ratio r take (1 - r) of a full one? CIFAR-10 with the two-core recipe.

python -m benchmarks.epoch_time [--data DIR] [--short] [--json FILE]

Counted is all that an epoch does: planning, drawing, loading, training, scoring, pushing scores. The kinds
take turns, epoch by epoch, each round in another order; a ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cifar10 import CONFIG, write_betons
from sadp_dist.training import load_config
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer

RATIOS = (0.3, 0.5, 0.7)
SLACK = 0.02


def open_trainers(overrides: list[str], rounds: int) -> dict[float, Trainer]:
    """A run for each ratio, 0 for the full data, with scores of all examples in the store."""
    process = Process(
        rank=0, world_size=1, device=torch.device("cuda" if torch.cuda.is_available() else "cpu")
    )
    trainers = {}
    for ratio in (0.0, *RATIOS):
        method = ["pruning.method=sadp" if ratio else "pruning.method=full", f"pruning.ratio={ratio}"]
        constant = ["pruning.max_ratio=null", "pruning.min_probability=0.2", f"training.epochs={rounds + 1}"]
        trainer = Trainer(load_config(CONFIG, [*overrides, *method, *constant]), process)
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(trainer.data.size, generator=generator).exp()
        trainer.store.push(torch.arange(trainer.data.size), scores, epoch=0)
        trainers[ratio] = trainer
    return trainers


def measure(overrides: list[str], rounds: int) -> dict[str, Any]:
    trainers = open_trainers(overrides, rounds)
    ratios = list(trainers)
    seconds: dict[float, list[float]] = {ratio: [] for ratio in ratios}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        progress = Progress("", 0, enabled=False)
        for turn in range(rounds + 1):  # the first one warms up
            for ratio in ratios[turn % len(ratios) :] + ratios[: turn % len(ratios)]:
                record = trainers[ratio].train_epoch(checkpoints, progress)
                if turn:
                    seconds[ratio].append(record["seconds"])
    full = seconds[0.0]
    rows = []
    for ratio in RATIOS:
        relative = [a / b for a, b in zip(seconds[ratio], full, strict=True)]
        rows.append(
            {
                "ratio": ratio,
                "seconds": statistics.median(seconds[ratio]),
                "of_full": statistics.median(relative),
                "least": min(relative),
                "most": max(relative),
            }
        )
    return {
        "rounds": rounds,
        "full_seconds": statistics.median(full),
        "rows": rows,
        "load": os.getloadavg()[0],
    }


def table_of(result: dict[str, Any]) -> Table:
    full = f"full data {result['full_seconds']:.1f} s, {result['rounds']} rounds"
    title = f"An epoch of CIFAR-10, two-core recipe; {full}"
    table = Table("r", "epoch", "of a full one", "least to most", "1 - r", "above it", "target", title=title)
    for row in result["rows"]:
        table.add_row(
            f"{row['ratio']}",
            f"{row['seconds']:.1f} s",
            f"{row['of_full']:.3f}",
            f"{row['least']:.3f} to {row['most']:.3f}",
            f"{1 - row['ratio']:.1f}",
            f"{row['of_full'] - (1 - row['ratio']):+.3f}",
            f"<= {SLACK}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SADP_DIST_DATA", "."))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/cifar10"))
    parser.add_argument("--short", action="store_true", help="one round: a check, not a figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    betons = write_betons(Path(arguments.data), arguments.runs.resolve())
    result = measure(betons, rounds=1 if arguments.short else 5)
    Console(width=120).print(table_of(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
