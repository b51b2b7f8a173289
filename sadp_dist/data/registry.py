"""The public datasets: their facts, where to download them, and the functions that read their files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sadp_dist.choices import check_choice
from sadp_dist.data import cifar10_dvs, dvs128_gesture, hardvs
from sadp_dist.data.cifar import open_cifar10, open_cifar100
from sadp_dist.data.examples import Examples
from sadp_dist.data.images import open_images
from sadp_dist.data.shd import open_shd
from sadp_dist.data.speech_commands import open_speech_commands
from sadp_dist.data.tiny_imagenet import open_tiny_imagenet
from sadp_dist.errors import UsageError


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
        open: opens (path, split); the path is a downloaded file or the folder of the files.
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
    open: Callable[[Path, str], Examples]
    val: int | None = None

    @property
    def splits(self) -> dict[str, int]:
        """The number of examples of each split."""
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        return {split: size for split, size in sizes.items() if size is not None}


def open_dataset(name: str, source: str | Path, split: str, verify: bool = True) -> Examples:
    """Open a split of a dataset from its published files.

    Args:
        name: one of ``DATASETS``.
        source: a downloaded file or its folder, packed or unpacked.
        split: "train", "test" or, if the dataset has it, "val".
        verify: check the MD5 sums of the files, and the numbers of examples and classes.

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
    examples = dataset.open(path, split)
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


def _open_imagenet(path: Path, split: str) -> Examples:
    return open_images(path, "val" if split == "test" else split)


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="cifar10",
            kind="images",
            train=50_000,
            test=10_000,
            classes=10,
            shape=(3, 32, 32),
            source="download cifar-10-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
            files=(SourceFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
            open=open_cifar10,
        ),
        Dataset(
            name="cifar100",
            kind="images",
            train=50_000,
            test=10_000,
            classes=100,
            shape=(3, 32, 32),
            source="download cifar-100-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
            files=(SourceFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
            open=open_cifar100,
        ),
        Dataset(
            name="tiny-imagenet",
            kind="images",
            train=100_000,
            val=10_000,
            test=10_000,
            classes=200,
            shape=(3, 64, 64),
            source="download tiny-imagenet-200.zip from cs231n.stanford.edu/tiny-imagenet-200.zip",
            files=(SourceFile("tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),),
            open=open_tiny_imagenet,
        ),
        Dataset(
            name="imagenet",
            kind="images",
            train=1_281_167,
            val=50_000,
            test=50_000,
            classes=1000,
            shape=(3, 224, 224),
            source="register at image-net.org, download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, "
            "and unpack them to train/<class>/<image> and val/<class>/<image>",
            files=(
                SourceFile("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e", "train"),
                SourceFile("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622", "val"),
            ),
            open=_open_imagenet,
        ),
        Dataset(
            name="cifar10-dvs",
            kind="events",
            train=9_000,
            test=1_000,
            classes=10,
            shape=cifar10_dvs.FRAMES.shape,
            source="download the ten .zip files of figshare.com/articles/dataset/CIFAR10-DVS_New/4724671 and "
            "unpack them into one folder",
            files=(
                SourceFile("airplane.zip", "0afd5c4bf9ae06af762a77b180354fdd"),
                SourceFile("automobile.zip", "8438dfeba3bc970c94962d995b1b9bdd"),
                SourceFile("bird.zip", "a9c207c91c55b9dc2002dc21c684d785"),
                SourceFile("cat.zip", "52c63c677c2b15fa5146a8daf4d56687"),
                SourceFile("deer.zip", "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
                SourceFile("dog.zip", "f379ebdf6703d16e0a690782e62639c3"),
                SourceFile("frog.zip", "cad6ed91214b1c7388a5f6ee56d08803"),
                SourceFile("horse.zip", "e7cbbf77bec584ffbf913f00e682782a"),
                SourceFile("ship.zip", "41c7bd7d6b251be82557c6cce9a7d5c9"),
                SourceFile("truck.zip", "89f3922fd147d9aeff89e76a2b0b70a7"),
            ),
            open=cifar10_dvs.open_cifar10_dvs,
        ),
        Dataset(
            name="hardvs",
            kind="events",
            train=64_526,
            val=10_734,
            test=32_386,
            classes=300,
            shape=hardvs.FRAMES.shape,
            source="download MINI_HARDVS_files.zip, the compact event files, and the three lists of labels "
            "from github.com/Event-AHU/HARDVS, and unpack it and each action_*.zip in it",
            files=(
                SourceFile("MINI_HARDVS_files.zip", "9c4cc0d9ba043faa17f6f1a9e9aff982"),
                SourceFile("train_label.txt", "0d642b6e6871034f151b2649a89d8d3c", "train"),
                SourceFile("val_label.txt", "cd2cebcba80e4552102bbacf2b5df812", "val"),
                SourceFile("test_label.txt", "5b664af5843f9b476a9c22626f7f5a59", "test"),
            ),
            open=hardvs.open_hardvs,
        ),
        Dataset(
            name="dvs128-gesture",
            kind="events",
            train=1_176,
            test=288,
            classes=11,
            shape=dvs128_gesture.FRAMES.shape,
            source="download DvsGesture.tar.gz from ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8 and "
            "unpack it",
            files=(SourceFile("DvsGesture.tar.gz", "8a5c71fb11e24e5ca5b11866ca6c00a1"),),
            open=dvs128_gesture.open_dvs128_gesture,
        ),
        Dataset(
            name="speech-commands",
            kind="audio",
            train=84_843,
            val=9_981,
            test=11_005,
            classes=35,
            shape=(101, 40),
            source="download speech_commands_v0.02.tar.gz from "
            "download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            files=(SourceFile("speech_commands_v0.02.tar.gz", "6b74f3901214cb2c2934e98196829835"),),
            open=open_speech_commands,
        ),
        Dataset(
            name="shd",
            kind="audio",
            train=8_156,
            test=2_264,
            classes=20,
            shape=(100, 700),
            source="download shd_train.h5.gz and shd_test.h5.gz from "
            "zenkelab.org/resources/spiking-heidelberg-datasets-shd",
            files=(
                SourceFile("shd_train.h5.gz", "d47c9825dee33347913e8ce0f2be08b0", "train"),
                SourceFile("shd_test.h5.gz", "3062a80ec0c5719404d5b02e166543b1", "test"),
            ),
            open=open_shd,
        ),
    )
}
