"""At which scale the paper's experiments are run: its own recipes, or one that two CPU cores can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sadp_dist.errors import UsageError
from sadp_dist.reproduce.job import Job

PAPER_RECIPES = {
    "cifar10": "cifar10-resnet18.yaml",
    "cifar100": "cifar100-resnet19.yaml",
    "cifar10-dvs": "cifar10dvs-vgg11.yaml",
    "hardvs": "hardvs-resnet18.yaml",
}
"""Table III's datasets, and the recipe of each."""

SMALL_RECIPE = "reproduce-small.yaml"
EVERY = {"train": 10, "test": 5}
"""Of CIFAR-10, the small scale takes every so many images."""


@dataclass(frozen=True)
class Setting:
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
            return Job(self.recipes / PAPER_RECIPES[dataset], overrides, seed, self.runs, {}, **more)
        recipe = self.recipes / SMALL_RECIPE
        return Job(recipe, overrides, seed, self.runs, self._files("cifar10-part"), **more)

    def _files(self, name: str) -> dict[str, str]:
        return {split: str(self.runs / "data" / f"{name}-{split}.beton") for split in EVERY}

    def prepare(self) -> None:
        """Write the .beton files of the small scale, where they are not there yet.

        Raises:
            UsageError: there are no images to write them from.
        """
        if not self.small:
            return
        files = {split: Path(path) for split, path in self._files("cifar10-part").items()}
        if all(path.exists() for path in files.values()):
            return
        from torch.utils.data import Subset

        from sadp_dist.loading import write_beton

        for split, path in files.items():
            images = self._cifar10(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_beton(Subset(images, range(0, len(images), EVERY[split])), path)

    def _cifar10(self, split: str) -> Any:
        from sadp_dist.data import DATASETS, how_to_get, open_dataset, open_images

        as_images = self.data / "cifar10.zip"
        if as_images.exists():
            return open_images(as_images, split)
        official = DATASETS["cifar10"].files[0].name
        if (self.data / official).exists():
            return open_dataset("cifar10", self.data / official, split)
        raise UsageError(
            f"--data {self.data} holds neither cifar10.zip (train/<class>/<image>, test/<class>/<image>) nor "
            f"{official}; {how_to_get(DATASETS['cifar10'])}"
        )
