"""Trackers that log the metrics of a run: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TRACKERS = {
    "tensorboard": "sadp_dist.training.trackers.tensorboard",
    "wandb": "sadp_dist.training.trackers.wandb",
    "mlflow": "sadp_dist.training.trackers.mlflow",
}
"""Name in a configuration -> module with `open_tracker(run)`, imported when a run uses it."""


class Tracker(Protocol):
    """Logs the metrics of a run. A call may fail, and is repeated with the next epoch."""

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log the metrics of an epoch, counted from 1, possibly again."""

    def close(self, failed: bool) -> None:
        """End the log of a run that is complete or failed."""


@dataclass(frozen=True)
class TrackedRun:
    """The description of a run for trackers.

    Attributes:
        name: of the run.
        project: that it belongs to.
        folder: the run directory.
        config: the whole configuration as plain JSON.
        first_epoch: where a resumed run continues, counted from 1; it and later epochs are logged again.
    """

    name: str
    project: str
    folder: Path
    config: dict[str, Any]
    first_epoch: int


Open = Callable[[TrackedRun], Tracker]


def find_trackers(names: Iterable[str]) -> dict[str, Open]:
    """Return the functions that open these trackers, by name.

    Raises:
        MissingExtra: the package of a tracker is not installed.
    """
    return {name: importlib.import_module(TRACKERS[name]).open_tracker for name in names}


def kept_id(run: TrackedRun, tracker: str, begin: Callable[[], str]) -> str:
    """Return the tracker's id of a run from the run directory, or create it for a new run."""
    path = run.folder / tracker / "run-id"
    if not path.exists():
        name = begin()
        path.parent.mkdir(exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return path.read_text(encoding="utf-8")
