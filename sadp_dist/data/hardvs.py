"""HARDVS (Wang et al., AAAI 2024): 300 human actions, filmed by an event camera of 346 x 260 pixels.

This reads the compact release: a .npz file of events for each example, and a list for each split.
"""

from __future__ import annotations

from pathlib import Path

from sadp_dist.data.event_frames import EventFrames, Events, Frames, load_npz
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.errors import UsageError

CLASSES = tuple(f"action_{number:03d}" for number in range(1, 301))
FRAMES = Frames(time_steps=4, height=260, width=346, side=128)


class Hardvs(EventFrames):
    """The examples of a split, in the order of its list. A line of the list is `action_001/NAME ...`."""

    def __init__(self, root: Path, split: str, frames: Frames = FRAMES) -> None:
        lines = (root / f"{split}_label.txt").read_text(encoding="utf-8").splitlines()
        self._paths = [root / f"{line.split()[0]}.npz" for line in lines if line.strip()]
        label = {name: k for k, name in enumerate(CLASSES)}
        strange = [path for path in self._paths if path.parent.name not in label]
        if strange:
            raise UsageError(
                f"{root}: {split}_label.txt names {strange[0]}, "
                "which is not in a folder action_001 to action_300"
            )
        super().__init__(str(root), CLASSES, [label[path.parent.name] for path in self._paths], frames)

    def events(self, index: int) -> Events:
        return load_npz(self._paths[index])

    def place(self, index: int) -> str:
        return str(self._paths[index])


@register_dataset(
    "hardvs",
    kind="events",
    train=64_526,
    val=10_734,
    test=32_386,
    classes=300,
    shape=FRAMES.shape,
    source="download MINI_HARDVS_files.zip, the compact event files, and the three lists of labels "
    "from github.com/Event-AHU/HARDVS, and unpack it and each action_*.zip in it",
    files=(
        SourceFile("MINI_HARDVS_files.zip", "9c4cc0d9ba043faa17f6f1a9e9aff982"),
        SourceFile("train_label.txt", "0d642b6e6871034f151b2649a89d8d3c", "train"),
        SourceFile("val_label.txt", "cd2cebcba80e4552102bbacf2b5df812", "val"),
        SourceFile("test_label.txt", "5b664af5843f9b476a9c22626f7f5a59", "test"),
    ),
)
def open_hardvs(path: Path, split: str, time_steps: int | None = None) -> Hardvs:
    """Open HARDVS: the folder with the lists and the unpacked class folders, or the folder above it.

    Raises:
        UsageError: the list of the split is missing.
    """
    beneath = sorted(path.iterdir()) if path.is_dir() else []
    for root in (path, *beneath):
        if (root / f"{split}_label.txt").is_file() and (root / CLASSES[0]).is_dir():
            return Hardvs(root, split, FRAMES.in_steps(time_steps))
    raise UsageError(
        f"source {str(path)!r} has no {split}_label.txt beside a folder action_001/; unpack "
        "MINI_HARDVS_files.zip, each action_*.zip in it into a folder of its name, and put the lists there"
    )
