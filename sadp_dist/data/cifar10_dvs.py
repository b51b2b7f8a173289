"""CIFAR10-DVS (Li et al., Frontiers in Neuroscience, 2017): an event camera filmed moving CIFAR-10 images.

Every class has 1,000 files, numbered from 0. There is no official split. This reader trains on the first 900
files of each class and tests on the last 100. SpikingJelly's `CIFAR10DVSTEBNSplit` tests on the first 100.
"""

from __future__ import annotations

import re
from pathlib import Path

from sadp_dist.data.event_frames import EventFrames, Events, Frames, load_npz
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


def open_cifar10_dvs(path: Path, split: str) -> Cifar10Dvs:
    """Open CIFAR10-DVS: the folder with its ten unpacked .zip files, or the folder above it.

    Raises:
        UsageError: the folder has no class folders.
    """
    beneath = sorted(path.iterdir()) if path.is_dir() else []
    for root in (path, *beneath):
        if (root / CLASSES[0]).is_dir():
            return Cifar10Dvs(root, split)
    packed = (path / f"{CLASSES[0]}.zip").is_file()
    what = "has .zip files; unpack them there: unzip '*.zip'" if packed else "has no folder airplane/"
    raise UsageError(f"source {str(path)!r} {what}; expected <class>/cifar10_<class>_<number>.aedat")
