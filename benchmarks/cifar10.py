"""Accuracy on CIFAR-10 with the two-core recipe: all data against SADP and random pruning, several seeds.

Beside them full data for fewer epochs, as many examples in all (the paper's Reduced Epoch).

python -m benchmarks.cifar10 [--data DIR] [--runs DIR] [--seeds 0 1 2] [--jobs 2] [--json FILE]
[SECTION.KEY=VALUE ...]

DIR holds cifar10.zip. Runs that are done are not run again, and one that was stopped goes on where it was.
The hyperparameters at each ratio are those of the paper's Table II.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

CONFIG = Path(__file__).parents[1] / "configs" / "cifar10-small.yaml"
EPOCHS = 10  # of the recipe
TABLE_II = {0.5: (0.7, 0.3), 0.7: (0.9, 0.2)}  # ratio: (max_ratio, min_probability)


def kinds() -> dict[str, list[str]]:
    """What is compared, and the overrides that make it."""
    chosen = {"full data": ["pruning.method=full"]}
    for ratio, (max_ratio, floor) in TABLE_II.items():
        schedule = [f"pruning.ratio={ratio}", f"pruning.max_ratio={max_ratio}"]
        chosen[f"SADP, r = {ratio}"] = [*schedule, f"pruning.min_probability={floor}"]
        chosen[f"random pruning, r = {ratio}"] = [*schedule, "pruning.method=random"]
        epochs = round((1 - ratio) * EPOCHS)
        chosen[f"full data, {epochs} epochs"] = ["pruning.method=full", f"training.epochs={epochs}"]
    return chosen


def write_betons(data: Path, folder: Path) -> list[str]:
    """The two .beton files, made if they are missing, as overrides."""
    for split in ("train", "test"):
        if not (folder / f"{split}.beton").exists():
            sadp_dist("beton", str(data / "cifar10.zip"), str(folder / f"{split}.beton"), "--split", split)
    return [f"data.{split}={folder / split}.beton" for split in ("train", "test")]


def sadp_dist(*arguments: str, threads: int | None = None) -> None:
    environment = os.environ if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "sadp_dist", *arguments], check=True, env=environment)


def train(name: str, seed: int, runs: Path, overrides: Sequence[str], threads: int) -> dict[str, Any]:
    """One run's last record."""
    slug = name.replace(",", "").replace("=", "").replace(" ", "-").replace("--", "-")
    run_dir = runs / f"{slug}-seed{seed}"
    records = run_dir / "metrics.jsonl"
    if not (records.exists() and '"event": "end"' in records.read_text()):
        names = [f"name={run_dir.name}", f"output={runs}/{{name}}", f"seed={seed}"]
        sadp_dist("train", str(CONFIG), *names, *overrides, "--resume", threads=threads)
    summary: dict[str, Any] = json.loads(records.read_text().splitlines()[-1])
    return summary


def table_of(summaries: dict[str, list[dict[str, Any]]]) -> Table:
    seeds = len(next(iter(summaries.values())))
    all_examples = summaries["full data"][0]["total_examples"]
    table = Table(title=f"CIFAR-10, two-core recipe, {seeds} seeds: test accuracy after the last epoch")
    for column in ("method", "accuracy (mean ± sd)", "each seed", "examples trained on", "of full data"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, runs in summaries.items():
        accuracy = [100 * run["test_accuracy"] for run in runs]
        examples = statistics.mean(run["total_examples"] for run in runs)
        spread = f" ± {statistics.stdev(accuracy):.2f}" if seeds > 1 else ""
        table.add_row(
            name,
            f"{statistics.mean(accuracy):.2f}{spread} %",
            "  ".join(f"{one:.2f}" for one in accuracy),
            f"{examples:,.0f}",
            f"{examples / all_examples:.3f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SADP_DIST_DATA", "."))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/cifar10"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at a time, each with its share of the cores"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the runs' last records there")
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE", help="for every run")
    arguments = parser.parse_args()
    runs = arguments.runs.resolve()
    runs.mkdir(parents=True, exist_ok=True)
    betons = write_betons(Path(arguments.data), runs)
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        # Seed by seed, so that a benchmark that is stopped has whole rows for some seeds.
        futures = {
            (name, seed): pool.submit(
                train, name, seed, runs, [*betons, *overrides, *arguments.overrides], threads
            )
            for seed in arguments.seeds
            for name, overrides in kinds().items()
        }
        summaries = {name: [futures[name, seed].result() for seed in arguments.seeds] for name in kinds()}
    Console(width=120).print(table_of(summaries))
    if arguments.json:
        arguments.json.write_text(json.dumps(summaries, indent=1) + "\n")


if __name__ == "__main__":
    main()
