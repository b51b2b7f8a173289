"""``sadp-dist report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sadp_dist.errors import UsageError

CAPTION = "wall time: planning and training; without start-up, evaluation and checkpoints"


def report(
    run_dirs: Annotated[
        list[Path], typer.Argument(help="Run directories, compared with the first.", metavar="RUN_DIR...")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare runs: test accuracy, examples trained on, time spent training.

    The time ratio is to the first of them:

        sadp-dist report runs/digits-full runs/digits-sadp
    """
    rows = [_row(run_dir) for run_dir in run_dirs]
    for row in rows:
        row["time_ratio"] = row["seconds"] / rows[0]["seconds"] if rows[0]["seconds"] else None
    console = Console(highlight=False)
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table(box=box.SIMPLE_HEAD, caption=CAPTION, caption_justify="left")
    for name in ("method", "test accuracy", "examples trained on", "wall time", "time ratio"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in rows:
        method = row["method"] if row["ratio"] == 0 else f"{row['method']}, r = {row['ratio']:g}"
        table.add_row(
            method if row["finished"] else f"{method} (at epoch {row['epochs']})",
            "-" if row["test_accuracy"] is None else f"{row['test_accuracy']:.2%}",
            f"{row['examples']:,}",
            f"{row['seconds']:,.1f} s",
            "-" if row["time_ratio"] is None else f"{row['time_ratio']:.3f}",
        )
    console.print(table)


def _row(run_dir: Path) -> dict[str, Any]:
    import yaml

    from sadp_dist.training.metrics import METRICS_FILE, read_metrics

    if not (run_dir / METRICS_FILE).is_file():
        raise UsageError(
            f"{run_dir} holds no run: {METRICS_FILE} is missing; give the directory that train wrote"
        )
    records = read_metrics(run_dir)
    epochs = [record for record in records if record["event"] == "epoch"]
    if not epochs:
        raise UsageError(f"{run_dir} has no finished epoch yet; wait for the first")
    config = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    pruning = config["pruning"]
    tested = [record["test_accuracy"] for record in epochs if "test_accuracy" in record]
    return {
        "run": str(run_dir),
        "method": pruning["method"],
        "ratio": 0.0 if pruning["method"] == "full" else pruning["ratio"],
        "test_accuracy": tested[-1] if tested else None,
        "examples": epochs[-1]["total_examples"],
        "seconds": epochs[-1]["total_seconds"],
        "epochs": len(epochs),
        "finished": records[-1]["event"] == "end",
    }
