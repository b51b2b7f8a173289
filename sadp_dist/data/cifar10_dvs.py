"""CIFAR10-DVS (Li et al., Frontiers in Neuroscience, 2017): an event camera filmed moving CIFAR-10 images.

Every class has 1,000 files, numbered from 0. There is no official split. This reader trains on the first 900
files of each class and tests on the last 100. SpikingJelly's `CIFAR10DVSTEBNSplit` tests on the first 100.
"""

from __future__ import annotations

import re
from pathlib import Path

from sadp_dist.data.event_frames import EventFrames, Events, Frames, load_npz
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.data.spikingjelly_readers import reader
from sadp_dist.errors import UsageError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FIRST_TEST = 900
"""Files with this number or a higher one are test files."""
FRAMES = Frames(time_steps=10, height=128, width=128, side=48)
_NUMBERED = re.compile(r"_(\d+)\.(aedat|npz)")


class Cifar10Dvs(EventFrames):
    """Frames from the published .aedat files (AEDAT 2.0), or SpikingJelly's .npz files of these names."""

    def __init__(self, root: Path, split: str, frames: Frames = FRAMES) -> None:
        self._paths: list[Path] = []
        labels = []
        for label, name in enumerate(CLASSES):
            numbered = sorted((int(match[1]), file) for file, match in _files(root / name))
            train = split == "train"
            chosen = [file for number, file in numbered if (number < FIRST_TEST) == train]
            self._paths += chosen
            labels += [label] * len(chosen)
        super().__init__(str(root), CLASSES, labels, frames)

    def events(self, index: int) -> Events:
        path = self._paths[index]
        if path.suffix == ".npz":
            return load_npz(path)
        loaded: Events = reader("cifar10_dvs")._load_origin_data(path)
        return loaded

    def place(self, index: int) -> str:
        return str(self._paths[index])


def _files(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    found = ((file, _NUMBERED.search(file.name)) for file in folder.glob("*_*.*"))
    return [(file, match) for file, match in found if match is not None]


@register_dataset(
    "cifar10-dvs",
    kind="events",
    train=9_000,
    test=1_000,
    classes=10,
    shape=FRAMES.shape,
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
)
def open_cifar10_dvs(path: Path, split: str, time_steps: int | None = None) -> Cifar10Dvs:
    """Open CIFAR10-DVS: the folder with its ten unpacked .zip files, or the folder above it.

    Raises:
        UsageError: the folder has no class folders.
    """
    beneath = sorted(path.iterdir()) if path.is_dir() else []
    for root in (path, *beneath):
        if (root / CLASSES[0]).is_dir():
            return Cifar10Dvs(root, split, FRAMES.in_steps(time_steps))
    packed = (path / f"{CLASSES[0]}.zip").is_file()
    what = "has .zip files; unpack them there: unzip '*.zip'" if packed else "has no folder airplane/"
    raise UsageError(f"source {str(path)!r} {what}; expected <class>/cifar10_<class>_<number>.aedat")
