"""The run directories in a folder, for a list of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sadp_dist.errors import UsageError
from sadp_dist.report.run_record import read_run
from sadp_dist.store.run_state import RunState
from sadp_dist.training.metrics import METRICS_FILE

PATIENCE = 120.0
"""Seconds without a line in a run's metrics after which it may count as stopped."""


def runs_in_folder(folder: Path) -> list[dict[str, Any]]:
    """Return the runs of a folder of run directories, in the form of `sadp_dist.store.list_runs`.

    "epoch" is the last epoch that is done. A run whose metrics have not grown for three of its epochs, and
    for two minutes, counts as stopped.
    """
    directories = [folder] if (folder / METRICS_FILE).is_file() else sorted(folder.iterdir())
    return [_described(path) for path in directories if (path / METRICS_FILE).is_file()]


def _described(path: Path) -> dict[str, Any]:
    try:
        run = read_run(path)
    except UsageError as error:
        return {"run": path.name, "problem": str(error)}
    written = (path / METRICS_FILE).stat().st_mtime
    longest = max((record["seconds"] for record in run.epochs), default=0.0)
    recent = time.time() - written < max(PATIENCE, 3 * longest)
    state: RunState = "done" if run.finished else "running" if recent else "stopped"
    return {
        "run": path.name,
        "state": state,
        "since": written,
        "dataset_size": run.dataset_size,
        "method": run.method,
        "epoch": run.epochs[-1]["epoch"] if run.epochs else None,
        "epochs": run.planned_epochs,
        "test_accuracy": run.last("test_accuracy"),
    }
