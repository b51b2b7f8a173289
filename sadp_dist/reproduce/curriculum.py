"""Savings that stack: fewer time steps in early epochs, with and without pruning, against fewer epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sadp_dist.reproduce.baselines import shares_of
from sadp_dist.reproduce.experiment import Experiment, accuracies, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.reproduce.small_data import CIFAR10_POOLED, MNIST_PART

ALL_STEPS: dict[str, Any] = {"training.curriculum": []}
PHASES: dict[str, Any] = {"training.curriculum": [{"until": 0.8, "time_steps": 1}, {}]}


def _plus(ratio: float) -> dict[str, Any]:
    return {"pruning.method": "sadp-plus", "pruning.ratio": ratio}


def _fewer(ratio: float) -> dict[str, Any]:
    return {"pruning.method": "reduced-epoch", "pruning.ratio": ratio, **ALL_STEPS}


FULL_DATA = "full data, T = 4"
ROWS: Mapping[str, Mapping[str, Any]] = {
    FULL_DATA: {**FULL, **ALL_STEPS},
    "T = 1 for 80 % of the epochs, then 4": {**FULL, **PHASES},
    "the same with r = 0.5": {**_plus(0.5), **PHASES},
    "the same with r = 0.7": {**_plus(0.7), **PHASES},
    "r = 0.7, T = 4": {**_plus(0.7), **ALL_STEPS},
    "fewer epochs, 1/2": _fewer(0.5),
    "fewer epochs, 1/4": _fewer(0.75),
}
"""The rows of the table, and their overrides of a recipe; pruning is by sadp-plus."""


class Task(NamedTuple):
    """A dataset with its recipe.

    Attributes:
        name: in the titles.
        recipe: file name; its network has T = 4.
        data: a key of ``SMALL_DATA``.
    """

    name: str
    recipe: str
    data: str


TASKS = (
    Task("MNIST, 20,000 images of 14x14", "curriculum-mnist.yaml", MNIST_PART),
    Task("CIFAR-10, 10,000 images of 16x16", "curriculum-cifar10.yaml", CIFAR10_POOLED),
)


@register("curriculum")
class Curriculum(Experiment):
    """Timed runs of all rows on each task, which are small at every scale; one at a time."""

    title = "Fewer time steps first"
    one_at_a_time = True

    def _jobs_of(self, setting: ExperimentSetting, task: Task, row: str) -> list[Job]:
        return [setting.run(task.recipe, ROWS[row], seed, task.data) for seed in setting.seeds]

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        found = [job for task in TASKS for row in ROWS for job in self._jobs_of(setting, task, row)]
        return sorted(found, key=lambda job: job.seed)

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        return Result([self._table(setting, task, diverged) for task in TASKS])

    def _table(self, setting: ExperimentSetting, task: Task, diverged: Mapping[str, str]) -> ResultTable:
        full = self._jobs_of(setting, task, FULL_DATA)
        rows: dict[str, list[Cell | None]] = {}
        for row in ROWS:
            jobs = self._jobs_of(setting, task, row)
            seconds = shares_of(jobs, full, diverged, "total_seconds")
            rows[row] = [
                Cell(accuracies(jobs, diverged), error_of_mean=True),
                Cell(seconds, digits=3, error_of_mean=True),
            ]
        return ResultTable(
            f"Fewer time steps first, {task.name}, small scale",
            "training",
            ["test accuracy, %", "time relative to full data"],
            rows,
            f"Mean over seeds {', '.join(map(str, setting.seeds))}, and its standard error. Time of planning "
            "and training, without start-up, evaluation and checkpoints. One run at a time.",
        )
