"""The base class of tables and figures. A new one is a new file with a registered class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.result import Result
from sadp_dist.training.metrics import read_metrics


class Experiment(ABC):
    """A table or figure of the paper.

    Attributes:
        title: its name in the paper.
        one_at_a_time: whether its runs are timed and must not run at the same time.
    """

    title: str
    one_at_a_time: bool = False

    @abstractmethod
    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        """Return the runs that it needs, ordered by seed, so that the first seeds are complete first."""

    @abstractmethod
    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        """Return the tables and charts of the finished runs.

        Args:
            setting: as for ``jobs``.
            diverged: why each diverged run did, by its name.
        """


EXPERIMENTS: dict[str, Experiment] = {}


def register(name: str) -> Callable[[type[Experiment]], type[Experiment]]:
    """Register an experiment under its name for `sadp-dist reproduce`."""

    def add(experiment: type[Experiment]) -> type[Experiment]:
        EXPERIMENTS[name] = experiment()
        return experiment

    return add


def summary_of(job: Job) -> dict[str, Any]:
    """Return the last record of a finished run."""
    return read_metrics(job.run_dir)[-1]


def accuracies(jobs: Sequence[Job], diverged: Mapping[str, str]) -> list[float | None]:
    """Return the final test accuracy of each run in percent; None if it diverged."""
    return [None if job.name in diverged else 100 * summary_of(job)["test_accuracy"] for job in jobs]
