"""Data of the small scale: parts of public datasets, and generated data instead of large ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sadp_dist.errors import MissingExtra, UsageError

SPLITS = ("train", "test")
CIFAR10_PART = "cifar10-part"
TINY_IMAGENET = "tiny-imagenet-10"
"""Ten classes of Tiny ImageNet."""
DIGITS = "digits"
"""Scikit-learn's handwritten digits, 8x8 pixels."""
FILMED = "cifar10-filmed"
"""Images of CIFAR-10, moved in front of a simulated event camera."""
GLIDES = "glides"
"""Generated sounds."""

EVERY = {"train": 10, "test": 5}
"""The part of CIFAR-10 consists of every n-th image."""
EVERY_FILMED = {"train": 25, "test": 20}
SENSOR, FILM_STEPS = 24, 6
"""Width and height of the simulated camera's sensor in pixels, and number of time steps."""
SOUNDS = {"train": 960, "test": 480}


class Every:
    """Every n-th of labelled examples, from the first."""

    def __init__(self, examples: Any, every: int) -> None:
        self._examples, self._every = examples, every
        self.name, self.classes = examples.name, examples.classes
        self.labels = examples.labels[::every]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self._examples[index * self._every]


def files_of(name: str, runs: Path) -> dict[str, str]:
    """Return the .beton file of each split of a small dataset."""
    return {split: str(runs / "data" / f"{name}-{split}.beton") for split in SPLITS}


def write_missing(needed: Iterable[str], runs: Path, folder: Path) -> None:
    """Write the .beton files that do not exist yet.

    Args:
        needed: files, named by ``files_of``.
        runs: folder of the run directories.
        folder: with the source images.

    Raises:
        UsageError: the source images do not exist.
    """
    from sadp_dist.loading import write_arrays, write_beton

    wanted = set(needed)
    for name, examples_of in SMALL_DATA.items():
        for split, file in files_of(name, runs).items():
            if file in wanted and not Path(file).exists():
                examples = examples_of(folder, split)
                Path(file).parent.mkdir(parents=True, exist_ok=True)
                write = write_arrays if name in (FILMED, GLIDES) else write_beton
                write(examples, file)


def _cifar10_part(folder: Path, split: str) -> Any:
    return Every(_cifar10(folder, split), EVERY[split])


def _cifar10(folder: Path, split: str) -> Any:
    from sadp_dist.data import DATASETS, open_dataset, open_images
    from sadp_dist.data.registry import how_to_get

    as_images = folder / "cifar10.zip"
    if as_images.exists():
        return open_images(as_images, split)
    official = DATASETS["cifar10"].files[0].name
    if (folder / official).exists():
        return open_dataset("cifar10", folder / official, split)
    raise UsageError(
        f"--data {folder} holds neither cifar10.zip (train/<class>/<image>, test/<class>/<image>) nor "
        f"{official}; {how_to_get(DATASETS['cifar10'])}"
    )


def _tiny_imagenet(folder: Path, split: str) -> Any:
    from sadp_dist.data import open_images

    file = folder / f"{TINY_IMAGENET}.zip"
    if not file.exists():
        raise UsageError(
            f"--data {folder} holds no {file.name}; put one there with ten classes of Tiny ImageNet as "
            "train/<class>/<image> and val/<class>/<image>"
        )
    return open_images(file, "train" if split == "train" else "val")


def _digits(folder: Path, split: str) -> Any:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("the digits", "digits") from error
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None].repeat(3, axis=-1)
    test = np.arange(len(images)) % 5 == 0
    chosen = np.flatnonzero(test == (split == "test"))
    return [(images[index], int(digits.target[index])) for index in chosen]


def _filmed(folder: Path, split: str) -> Any:
    from sadp_dist.data.event_frames import Frames
    from sadp_dist.data.simulated_event_camera import Filmed

    return Filmed(Every(_cifar10(folder, split), EVERY_FILMED[split]), Frames(FILM_STEPS, SENSOR, SENSOR))


def _glides(folder: Path, split: str) -> Any:
    from sadp_dist.data.gliding_tones import GlidingTones

    return GlidingTones(split, SOUNDS[split])


SMALL_DATA: Mapping[str, Callable[[Path, str], Any]] = {
    CIFAR10_PART: _cifar10_part,
    TINY_IMAGENET: _tiny_imagenet,
    DIGITS: _digits,
    FILMED: _filmed,
    GLIDES: _glides,
}
"""Functions that open a split of each dataset, from the folder of ``--data``."""
