"""At which scale the paper's experiments are run: its own recipes, or one that two CPU cores can do."""

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
"""Table III's datasets, and the recipe of each."""

SMALL_RECIPE = "reproduce-small.yaml"


@dataclass(frozen=True)
class ExperimentSetting:
    """What a person asked for.

    Attributes:
        scale: "paper": the recipes as they are; "small": a small network on a tenth of CIFAR-10.
        seeds: a run of each recipe for each.
        runs: folder of the runs' directories.
        data: folder with cifar10.zip and tiny-imagenet-10.zip, or the official archives; at small scale.
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
        """What a table's figures are of, in words."""
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"Mean and standard deviation over seeds {seeds}."
            if len(self.seeds) > 1
            else f"Seed {seeds} alone."
        )

    def titled(self, title: str) -> str:
        """A title, which says so where the scale is small."""
        return f"{title}, small scale" if self.small else title

    def job(self, dataset: str, overrides: Mapping[str, Any], seed: int, **more: Any) -> Job:
        """A run on a dataset of Table III; at small scale on the part of CIFAR-10.

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
        """A run of a recipe.

        Args:
            file: the recipe's name.
            overrides: of it.
            seed: of the run.
            data: a key of ``SMALL_DATA``, or None for what the recipe names.
            more: for the job.
        """
        files = {} if data is None else files_of(data, self.runs)
        overrides = with_tracking(overrides, TRACKING_EPOCHS.get(file))
        return Job(self.recipes / file, overrides, seed, self.runs, files, **more)

    def chain(self, file: str, overrides: Mapping[str, Any], seed: int, data: str | None = None) -> list[Job]:
        """The runs of a file of ``stages:``, each after the one before.

        Args:
            file: its name.
            overrides: of every stage's recipe.
            seed: of all.
            data: as of ``run``.
        """
        jobs: list[Job] = []
        for stage in read_sections(self.recipes / file)["stages"].values():
            after = jobs[-1] if jobs else None
            jobs.append(self.run(stage, overrides, seed, data, after=after))
        return jobs

    def prepare(self, jobs: Iterable[Job]) -> None:
        """Write the .beton files of the small scale that runs need, where they are not there yet.

        Raises:
            UsageError: there are no images to write them from.
        """
        if self.small:
            write_missing({path for job in jobs for path in job.data.values()}, self.runs, self.data)
