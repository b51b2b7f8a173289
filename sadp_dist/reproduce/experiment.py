"""A table or figure of the paper, by name. A new one is a new file with a registered class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.result import Result
from sadp_dist.training.metrics import read_metrics


class Experiment(ABC):
    """What a table or figure is made from.

    Attributes:
        title: what it shows; "small scale" is added to it where it is.
        one_at_a_time: whether its runs are timed, and so each has the machine for itself.
    """

    title: str
    one_at_a_time: bool = False

    @abstractmethod
    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        """The runs that it needs, seed by seed, so that a stopped one has whole rows for some seeds."""

    @abstractmethod
    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        """Tables and figures from the runs, which are done.

        Args:
            setting: as for ``jobs``.
            diverged: the runs that have no end, by name.
        """


EXPERIMENTS: dict[str, Experiment] = {}


def register(name: str) -> Callable[[type[Experiment]], type[Experiment]]:
    """Make an experiment known under `name`, which is what `sadp-dist reproduce` takes."""

    def add(experiment: type[Experiment]) -> type[Experiment]:
        EXPERIMENTS[name] = experiment()
        return experiment

    return add


def summary_of(job: Job) -> dict[str, Any]:
    """A finished run's last record."""
    return read_metrics(job.run_dir)[-1]


def accuracies(jobs: Sequence[Job], diverged: Mapping[str, str]) -> list[float | None]:
    """Test accuracy at the end of each run, in percent; None of one that diverged."""
    return [None if job.name in diverged else 100 * summary_of(job)["test_accuracy"] for job in jobs]
