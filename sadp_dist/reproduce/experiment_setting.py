"""The setting of the experiments: scale, seeds and folders, and the runs that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import TRACKING_EPOCHS, with_tracking
from sadp_dist.reproduce.small_data import CIFAR10_PART, files_of, write_missing
from sadp_dist.training.config_file import read_sections

PAPER_RECIPES = {
    "cifar10": "cifar10-resnet18.yaml",
    "cifar100": "cifar100-resnet19.yaml",
    "cifar10-dvs": "cifar10dvs-vgg11.yaml",
    "hardvs": "hardvs-resnet18.yaml",
}
"""The recipe of each dataset of Table III."""

SMALL_RECIPE = "reproduce-small.yaml"


@dataclass(frozen=True)
class ExperimentSetting:
    """The options of `sadp-dist reproduce`.

    Attributes:
        scale: "paper": the paper's recipes; "small": a small network on a tenth of CIFAR-10.
        seeds: of the runs of each recipe.
        runs: folder of the run directories.
        data: folder with cifar10.zip and tiny-imagenet-10.zip, or the official archives; for small scale.
        recipes: folder with the recipes.
    """

    scale: Literal["paper", "small"]
    seeds: Sequence[int]
    runs: Path
    data: Path
    recipes: Path

    @property
    def small(self) -> bool:
        return self.scale == "small"

    @property
    def over_seeds(self) -> str:
        """A sentence about the seeds of a table."""
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"Mean and standard deviation over seeds {seeds}."
            if len(self.seeds) > 1
            else f"Seed {seeds} only."
        )

    def titled(self, title: str) -> str:
        """Return a title, with "small scale" at small scale."""
        return f"{title}, small scale" if self.small else title

    def job(self, dataset: str, overrides: Mapping[str, Any], seed: int, **more: Any) -> Job:
        """Return a run on a dataset of Table III; at small scale on a part of CIFAR-10.

        Args:
            dataset: a key of ``PAPER_RECIPES``.
            overrides: of the recipe.
            seed: of the run.
            more: for the job.
        """
        if not self.small:
            return self.run(PAPER_RECIPES[dataset], overrides, seed, **more)
        return self.run(SMALL_RECIPE, overrides, seed, CIFAR10_PART, **more)

    def run(
        self, file: str, overrides: Mapping[str, Any], seed: int, data: str | None = None, **more: Any
    ) -> Job:
        """Return a run of a recipe.

        Args:
            file: name of the recipe.
            overrides: of the recipe.
            seed: of the run.
            data: a key of ``SMALL_DATA``, or None for the data of the recipe.
            more: for the job.
        """
        files = {} if data is None else files_of(data, self.runs)
        overrides = with_tracking(overrides, TRACKING_EPOCHS.get(file))
        return Job(self.recipes / file, overrides, seed, self.runs, files, **more)

    def chain(self, file: str, overrides: Mapping[str, Any], seed: int, data: str | None = None) -> list[Job]:
        """Return the runs of a file with ``stages:``, each after the one before.

        Args:
            file: name of the file.
            overrides: of the recipe of every stage.
            seed: of all runs.
            data: as for ``run``.
        """
        jobs: list[Job] = []
        for stage in read_sections(self.recipes / file)["stages"].values():
            after = jobs[-1] if jobs else None
            jobs.append(self.run(stage, overrides, seed, data, after=after))
        return jobs

    def prepare(self, jobs: Iterable[Job]) -> None:
        """Write the small .beton files of the runs that do not exist yet.

        Raises:
            UsageError: their images do not exist.
        """
        write_missing({path for job in jobs for path in job.data.values()}, self.runs, self.data)
