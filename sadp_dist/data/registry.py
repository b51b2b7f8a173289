"""The public datasets: their facts, where to download them, and the functions that read their files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.registry import Registry

if TYPE_CHECKING:
    from sadp_dist.data.examples import Examples
    from sadp_dist.sections import Section


@dataclass(frozen=True)
class SourceFile:
    """A file to download.

    Attributes:
        name: the file's name.
        md5: the published MD5 sum in hexadecimal digits, or None.
        split: the only split that needs the file, or None if all do.
    """

    name: str
    md5: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Dataset:
    """The facts of a dataset, and the function that reads it.

    Attributes:
        name: the name in commands and configurations.
        kind: the kind of its examples.
        train: number of training examples.
        test: number of test examples.
        classes: number of classes.
        shape: shape of an example for the network: (C, H, W) images, (T, C, H, W) events, (T, F) audio.
        source: what to download and from where, as the end of a sentence.
        files: the files to download.
        open: opens (path, split, **options); the path is a downloaded file or the folder of the files.
        val: number of examples of the split "val", or None. If the labels of the test split were never
            published, "test" and "val" are the same examples.
    """

    name: str
    kind: Literal["images", "events", "audio"]
    train: int
    test: int
    classes: int
    shape: tuple[int, ...]
    source: str
    files: tuple[SourceFile, ...]
    open: Callable[..., Examples]
    val: int | None = None

    @property
    def splits(self) -> dict[str, int]:
        """The number of examples of each split."""
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        return {split: size for split, size in sizes.items() if size is not None}


DATASETS: Registry[Dataset] = Registry(
    "dataset",
    {
        "cifar10": "sadp_dist.data.cifar",
        "cifar100": "sadp_dist.data.cifar",
        "tiny-imagenet": "sadp_dist.data.tiny_imagenet",
        "imagenet": "sadp_dist.data.imagenet",
        "cifar10-dvs": "sadp_dist.data.cifar10_dvs",
        "hardvs": "sadp_dist.data.hardvs",
        "dvs128-gesture": "sadp_dist.data.dvs128_gesture",
        "speech-commands": "sadp_dist.data.speech_commands",
        "shd": "sadp_dist.data.shd",
    },
)
"""Datasets by name. A new dataset is a file with one registered function."""

Open = Callable[..., "Examples"]


def register_dataset(name: str, options: type[Section] | None = None, **facts: Any) -> Callable[[Open], Open]:
    """Return a decorator that registers a function which opens a dataset.

    Args:
        name: what commands and configurations call the dataset.
        options: a subclass of the ``data:`` section, `sadp_dist.training.config.DataConfig`, whose further
            keys are the dataset's own options; the function gets them as keywords.
        facts: the other attributes of `Dataset`.
    """

    def decorate(open: Open) -> Open:
        DATASETS.add(name, Dataset(name=name, open=open, **facts), options, origin=open)
        return open

    return decorate


def open_dataset(name: str, source: str | Path, split: str, verify: bool = True, **options: Any) -> Examples:
    """Open a split of a dataset from its published files.

    Args:
        name: one of ``DATASETS``.
        source: a downloaded file or its folder, packed or unpacked.
        split: "train", "test" or, if the dataset has it, "val".
        verify: check the MD5 sums of the files, and the numbers of examples and classes.
        options: the dataset's own options, if it has any.

    Raises:
        UsageError: the name or split is unknown, the files are missing (the message says what to download),
            or they are not the published files.
        MissingExtra: a package that the reader needs is not installed.
    """
    check_choice("dataset", name, DATASETS)
    dataset, path = DATASETS[name], Path(source).expanduser()
    check_choice("split", split, dataset.splits)
    if not path.exists():
        raise UsageError(f"source {str(path)!r} does not exist; {how_to_get(dataset)}")
    if verify:
        _check_files(dataset, path, split)
    examples = dataset.open(path, split, **options)
    if verify:
        _check_counts(dataset, examples, split)
    return examples


def how_to_get(dataset: Dataset) -> str:
    """Return what to download, as part of a message."""
    return f"to get {dataset.name}, {dataset.source}"


def _check_files(dataset: Dataset, path: Path, split: str) -> None:
    """Compare the MD5 sums of the published files that exist."""
    folder = path if path.is_dir() else path.parent
    for file in dataset.files:
        there = folder / file.name
        wanted = there.is_file() and (path.is_dir() or there == path) and file.split in (None, split)
        if file.md5 is None or not wanted:
            continue
        with there.open("rb") as content:
            found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != file.md5:
            raise UsageError(
                f"{there} has the MD5 sum {found}, but the published sum is {file.md5}; download it again"
            )


def _check_counts(dataset: Dataset, examples: Examples, split: str) -> None:
    expected = dataset.splits[split]
    for found, wanted, what in (
        (len(examples), expected, "examples"),
        (len(examples.classes), dataset.classes, "classes"),
    ):
        if found != wanted:
            raise UsageError(
                f"{examples.name}: {split} has {found:,} {what}, but {dataset.name} has {wanted:,}; "
                f"{how_to_get(dataset)}, or give --no-verify to use a part of it"
            )
