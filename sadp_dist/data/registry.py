"""The public datasets: their facts, where to download them, and the functions that read their files."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.registry import Registry

if TYPE_CHECKING:
    from sadp_dist.data.examples import Examples
    from sadp_dist.sections import Section


KINDS = ("images", "events", "audio")
SPLITS = ("train", "val", "test")


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
    """The facts of a dataset, and the function that reads it. Facts that are None are not checked.

    Attributes:
        name: the name in commands and configurations.
        kind: the kind of its examples.
        open: opens (path, split, **options); the path is a downloaded file or the folder of the files.
        train: number of training examples, or None.
        test: number of test examples, or None.
        classes: number of classes, or None.
        shape: shape of an example for the network, or None: (C, H, W) images, (T, C, H, W) events, (T, F)
            audio.
        source: what to download and from where, as the end of a sentence; or "".
        files: the files to download.
        val: number of examples of the split "val", or None. If the labels of the test split were never
            published, "test" and "val" are the same examples.
    """

    name: str
    kind: Literal["images", "events", "audio"]
    open: Callable[..., Examples]
    train: int | None = None
    test: int | None = None
    classes: int | None = None
    shape: tuple[int, ...] | None = None
    source: str = ""
    files: tuple[SourceFile, ...] = ()
    val: int | None = None

    @property
    def splits(self) -> dict[str, int]:
        """The number of examples of each split; empty if none is known."""
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        return {split: size for split, size in sizes.items() if size is not None}

    @property
    def takes_time_steps(self) -> bool:
        """Whether the reader makes frames of any number of time steps: `open` has the keyword for it."""
        return "time_steps" in inspect.signature(self.open).parameters


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
        "nmnist": "sadp_dist.data.nmnist",
        "speech-commands": "sadp_dist.data.speech_commands",
        "shd": "sadp_dist.data.shd",
        "wav": "sadp_dist.data.wav:WavConfig",
    },
)
"""Datasets by name. A new dataset is a file with one registered function."""

Open = Callable[..., "Examples"]


def register_dataset(name: str, options: type[Section] | None = None, **facts: Any) -> Callable[[Open], Open]:
    """Return a decorator that registers a function which opens a dataset.

    Args:
        name: what commands and configurations call the dataset.
        options: a subclass of the ``data:`` section, `sadp_dist.data.DataConfig`, whose further
            keys are the dataset's own options; the function gets them as keywords.
        facts: the other attributes of `Dataset`; only `kind` is required.

    Raises:
        UsageError: `kind` is missing, a fact is not known, or the name belongs to another dataset.
    """
    known = [fact.name for fact in fields(Dataset) if fact.name not in ("name", "open")]
    for fact in facts:
        check_choice("fact of register_dataset", fact, known)
    check_choice("kind", facts.get("kind"), KINDS)

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
        options: the dataset's own options, if it has any. Datasets of events have `time_steps`, the number
            of frames T.

    Raises:
        UsageError: the name, split or an option is unknown, the files are missing (the message says what to
            download), or they are not the published files.
        MissingExtra: a package that the reader needs is not installed.
    """
    check_choice("dataset", name, DATASETS)
    dataset, path = DATASETS[name], Path(source).expanduser()
    check_choice("split", split, dataset.splits or SPLITS)
    for option in options:
        allowed = list(inspect.signature(dataset.open).parameters)[2:]
        if option not in allowed:
            has = f"its options are {', '.join(allowed)}" if allowed else "it has no options"
            raise UsageError(f"{option}={options[option]!r} is not an option of dataset {name}; {has}")
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
    if dataset.source:
        return f"to get {dataset.name}, {dataset.source}"
    return f"give the files of {dataset.name}"


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
    for found, wanted, what in (
        (len(examples), dataset.splits.get(split), "examples"),
        (len(examples.classes), dataset.classes, "classes"),
    ):
        if wanted is not None and found != wanted:
            raise UsageError(
                f"{examples.name}: {split} has {found:,} {what}, but {dataset.name} has {wanted:,}; "
                f"{how_to_get(dataset)}, or give --no-verify to use a part of it"
            )
