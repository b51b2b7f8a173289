"""At which scale the paper's experiments are run: its own recipes, or one that two CPU cores can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sadp_dist.errors import UsageError
from sadp_dist.reproduce.job import Job
from sadp_dist.training.config import read_sections

PAPER_RECIPES = {
    "cifar10": "cifar10-resnet18.yaml",
    "cifar100": "cifar100-resnet19.yaml",
    "cifar10-dvs": "cifar10dvs-vgg11.yaml",
    "hardvs": "hardvs-resnet18.yaml",
}
"""Table III's datasets, and the recipe of each."""

SMALL_RECIPE = "reproduce-small.yaml"
CIFAR10_PART = "cifar10-part"
EVERY = {"train": 10, "test": 5}
"""Of CIFAR-10, the small scale takes every so many images."""
TINY_IMAGENET = "tiny-imagenet-10"
"""Ten classes of Tiny ImageNet: the other data of the small scale."""


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
        return Job(recipe, overrides, seed, self.runs, self._files(CIFAR10_PART), **more)

    def chain(self, file: str, overrides: Mapping[str, Any], seed: int, data: str | None = None) -> list[Job]:
        """The runs of a file of ``stages:``, each after the one before.

        Args:
            file: its name.
            overrides: of every stage's recipe.
            seed: of all.
            data: "tiny-imagenet-10", or None for what the recipes name.
        """
        files = {} if data is None else self._files(data)
        jobs: list[Job] = []
        for stage in read_sections(self.recipes / file)["stages"].values():
            after = jobs[-1] if jobs else None
            jobs.append(Job(self.recipes / stage, overrides, seed, self.runs, files, after))
        return jobs

    def _files(self, name: str) -> dict[str, str]:
        return {split: str(self.runs / "data" / f"{name}-{split}.beton") for split in EVERY}

    def prepare(self, jobs: Iterable[Job]) -> None:
        """Write the .beton files of the small scale that runs need, where they are not there yet.

        Raises:
            UsageError: there are no images to write them from.
        """
        if not self.small:
            return
        needed = {path for job in jobs for path in job.data.values()}
        for name, images_of in ((CIFAR10_PART, self._cifar10), (TINY_IMAGENET, self._tiny_imagenet)):
            for split, file in self._files(name).items():
                if file in needed and not Path(file).exists():
                    from sadp_dist.loading import write_beton

                    Path(file).parent.mkdir(parents=True, exist_ok=True)
                    write_beton(images_of(split), file)

    def _tiny_imagenet(self, split: str) -> Any:
        from sadp_dist.data import open_images

        file = self.data / f"{TINY_IMAGENET}.zip"
        if not file.exists():
            raise UsageError(
                f"--data {self.data} holds no {file.name}: ten classes of Tiny ImageNet as "
                "train/<class>/<image> and val/<class>/<image>"
            )
        return open_images(file, "train" if split == "train" else "val")

    def _cifar10(self, split: str) -> Any:
        from torch.utils.data import Subset

        images = self._all_of_cifar10(split)
        return Subset(images, range(0, len(images), EVERY[split]))

    def _all_of_cifar10(self, split: str) -> Any:
        from sadp_dist.data import DATASETS, open_dataset, open_images
        from sadp_dist.data.registry import how_to_get

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
