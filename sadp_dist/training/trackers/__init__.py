"""Where a run's figures go beside its directory: TensorBoard, Weights & Biases, MLflow."""

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
"""Name in a configuration -> module, imported when it is asked for. It has `open_tracker(run)`."""


class Tracker(Protocol):
    """One that takes a run's figures. Any call may fail, and is tried again with the next epoch."""

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Take an epoch's figures; perhaps not for the first time."""

    def close(self, failed: bool) -> None:
        """The run has ended, in an error or well."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it.

    Attributes:
        name: of the run.
        project: what it is part of.
        folder: its directory, where it may have been tracked before.
        config: all of its configuration, plain JSON.
        first_epoch: at which it goes on; what was logged of later ones is logged anew.
    """

    name: str
    project: str
    folder: Path
    config: dict[str, Any]
    first_epoch: int


Open = Callable[[TrackedRun], Tracker]


def find_trackers(names: Iterable[str]) -> dict[str, Open]:
    """How each of these trackers begins to track a run.

    Raises:
        MissingExtra: the package of one is not installed.
    """
    return {name: importlib.import_module(TRACKERS[name]).open_tracker for name in names}


def kept_id(run: TrackedRun, tracker: str, begin: Callable[[], str]) -> str:
    """The id that a tracker knows a run by: a new one, or that in the run's directory where it goes on."""
    path = run.folder / tracker / "run-id"
    if not path.exists():
        name = begin()
        path.parent.mkdir(exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return path.read_text(encoding="utf-8")
