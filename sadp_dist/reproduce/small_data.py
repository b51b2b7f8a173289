"""Data of the small scale: parts of public datasets, and generated data instead of large ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

MNIST_PART = "mnist-part"
"""A third of MNIST for training, all of it for testing, in 14x14 pixels."""
MNIST_NOISY = "mnist-part-noisy"
"""The same; every tenth training image has a random one of the nine wrong labels."""
MNIST_RARE = "mnist-part-rare"
"""The same; of the digits 5 to 9 only every tenth training image."""
CIFAR10_POOLED = "cifar10-pooled"
"""A fifth of CIFAR-10 for training, all of it for testing, in 16x16 pixels."""
SPOKEN_DIGITS = "spoken-digits"
"""The Free Spoken Digit Dataset, in 33 time steps of 30 ms. Recordings 0 to 9 of each speaker and digit are
for testing."""

EVERY = {"train": 10, "test": 5}
"""The part of CIFAR-10 consists of every n-th image."""
EVERY_FILMED = {"train": 25, "test": 20}
SENSOR, FILM_STEPS = 24, 6
"""Width and height of the simulated camera's sensor in pixels, and number of time steps."""
SOUNDS = {"train": 960, "test": 480}


class Chosen:
    """Some of labelled examples.

    Args:
        examples: to choose from.
        indices: (n,) of the chosen ones.
        labels: (n,) theirs, if they are to have others.
    """

    def __init__(
        self, examples: Any, indices: NDArray[np.integer], labels: NDArray[np.integer] | None = None
    ) -> None:
        self._examples, self._indices = examples, indices
        self.name, self.classes = examples.name, examples.classes
        self.labels = examples.labels[indices] if labels is None else labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self._examples[int(self._indices[index])][0], int(self.labels[index])


def every(examples: Any, step: int) -> Chosen:
    """Return every n-th of labelled examples, from the first."""
    return Chosen(examples, np.arange(0, len(examples), step))


class Pooled:
    """Labelled images of half the width and height: a pixel is the mean of four."""

    def __init__(self, images: Any) -> None:
        self._images = images
        self.name, self.classes, self.labels = images.name, images.classes, images.labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        image, label = self._images[index]
        pixels = np.asarray(image, np.float32)
        height, width, channels = pixels.shape
        pooled = pixels.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
        return np.round(pooled).astype(np.uint8), label


class Slower:
    """Labelled sequences with a third of the time steps: a step is the mean of three."""

    def __init__(self, sequences: Any) -> None:
        self._sequences = sequences
        self.name, self.classes, self.labels = sequences.name, sequences.classes, sequences.labels
        steps, bands = sequences.shape
        self.shape = (steps // 3, bands)

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int]:
        features, label = self._sequences[index]
        steps, bands = self.shape
        return features[: 3 * steps].reshape(steps, 3, bands).mean(axis=1), label


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
                write = write_arrays if name in (FILMED, GLIDES, SPOKEN_DIGITS) else write_beton
                write(examples, file)


def _archive(folder: Path, name: str, content: str) -> Path:
    """Return NAME.zip in a folder; `content` says what is in it, for the error if there is none."""
    file = folder / f"{name}.zip"
    if not file.exists():
        raise UsageError(f"--data {folder} holds no {file.name}; put one there with {content}")
    return file


def _cifar10_part(folder: Path, split: str) -> Any:
    return every(_cifar10(folder, split), EVERY[split])


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


def _cifar10_pooled(folder: Path, split: str) -> Any:
    return Pooled(every(_cifar10(folder, split), 5 if split == "train" else 1))


def _mnist_part(folder: Path, split: str) -> Any:
    from sadp_dist.data import open_images

    file = _archive(folder, "mnist", "MNIST as train/<class>/<image> and test/<class>/<image>")
    return Pooled(every(open_images(file, split), 3 if split == "train" else 1))


def _mnist_noisy(folder: Path, split: str) -> Any:
    images = _mnist_part(folder, split)
    if split != "train":
        return images
    everyone = np.arange(len(images))
    wrong = (images.labels + np.random.default_rng(0).integers(1, 10, len(images))) % 10
    return Chosen(images, everyone, np.where(everyone % 10 == 0, wrong, images.labels))


def _mnist_rare(folder: Path, split: str) -> Any:
    images = _mnist_part(folder, split)
    if split != "train":
        return images
    kept = [np.flatnonzero(images.labels == digit)[:: 1 if digit < 5 else 10] for digit in range(10)]
    return Chosen(images, np.sort(np.concatenate(kept)))


def _spoken_digits(folder: Path, split: str) -> Any:
    from sadp_dist.data import open_dataset

    content = "the recordings of the Free Spoken Digit Dataset, such as 7_jackson_12.wav"
    file = _archive(folder, SPOKEN_DIGITS, content)
    names = {"pattern": "{class}_{speaker}_{number}.wav", "test_files": "*_[0-9].wav"}
    return Slower(open_dataset("wav", file, split, verify=False, **names))


def _tiny_imagenet(folder: Path, split: str) -> Any:
    from sadp_dist.data import open_images

    content = "ten classes of Tiny ImageNet as train/<class>/<image> and val/<class>/<image>"
    file = _archive(folder, TINY_IMAGENET, content)
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

    return Filmed(every(_cifar10(folder, split), EVERY_FILMED[split]), Frames(FILM_STEPS, SENSOR, SENSOR))


def _glides(folder: Path, split: str) -> Any:
    from sadp_dist.data.gliding_tones import GlidingTones

    return GlidingTones(split, SOUNDS[split])


SMALL_DATA: Mapping[str, Callable[[Path, str], Any]] = {
    CIFAR10_PART: _cifar10_part,
    CIFAR10_POOLED: _cifar10_pooled,
    MNIST_PART: _mnist_part,
    MNIST_NOISY: _mnist_noisy,
    MNIST_RARE: _mnist_rare,
    SPOKEN_DIGITS: _spoken_digits,
    TINY_IMAGENET: _tiny_imagenet,
    DIGITS: _digits,
    FILMED: _filmed,
    GLIDES: _glides,
}
"""Functions that open a split of each dataset, from the folder of ``--data``."""
