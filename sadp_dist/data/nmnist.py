"""N-MNIST (Orchard et al., Frontiers in Neuroscience, 2015): an event camera filmed the digits of MNIST.

The camera moved in three saccades in front of each digit, for 0.3 s. A recording is a .bin file.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sadp_dist.data.archive import Archive
from sadp_dist.data.event_frames import EventFrames, Events, Frames
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.errors import UsageError

CLASSES = tuple(str(digit) for digit in range(10))
FRAMES = Frames(time_steps=10, height=34, width=34)
EVENT = 5
"""Bytes of an event."""
FOLDERS = {"train": "Train", "test": "Test"}


class Nmnist(EventFrames):
    """Frames from the published .bin files, `<split>/<digit>/<number>.bin`.

    Attributes:
        kind: "folder", "zip" or "tar".
        left_out: the files in the split's folder that are no examples, by the reason.
    """

    def __init__(self, archive: Archive, split: str, frames: Frames = FRAMES) -> None:
        in_split = re.compile(rf"(?:.*/)?{FOLDERS[split]}/(.+)", re.IGNORECASE)
        self.kind = archive.kind
        self.left_out: dict[str, list[str]] = {}
        self._archive, self._paths = archive, list[str]()
        labels = []
        # A folder may itself be the split's.
        above = f"{archive.path.resolve().name}/" if archive.kind == "folder" else ""
        for name in archive.names:
            inside = in_split.fullmatch(above + name)
            if inside is None:
                continue
            found = re.fullmatch(r"(\d)/[^/.][^/]*\.bin", inside[1])
            if found is None or archive.sizes[name] == 0:
                reason = "empty file" if found else "not <digit>/<name>.bin"
                self.left_out.setdefault(reason, []).append(name)
            else:
                self._paths.append(name)
                labels.append(int(found[1]))
        super().__init__(str(archive.path), CLASSES, labels, frames)

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that tell this data from other data, see `Archive.fingerprint`."""
        return self._archive.fingerprint(self._paths, self.labels, self.classes)

    def events(self, index: int) -> Events:
        return decode(self._archive.read(self._paths[index]))

    def place(self, index: int) -> str:
        return self._paths[index]


def decode(recording: bytes) -> Events:
    """Return the events of a .bin file, where an event has 40 bits: x (8), y (8), p (1) and t (23).

    SpikingJelly's `load_ATIS_bin` does the same, but cannot read from an archive.

    Raises:
        ValueError: the length is not that of whole events, or an event is outside of the sensor.
    """
    if len(recording) % EVENT:
        raise ValueError(f"{len(recording)} bytes are not whole events of {EVENT} bytes")
    x, y, *rest = np.frombuffer(recording, np.uint8).reshape(-1, EVENT).astype(np.int64).T
    if len(x) and (x.max() >= FRAMES.width or y.max() >= FRAMES.height):
        raise ValueError(f"an event is outside of the {FRAMES.width} x {FRAMES.height} pixels")
    return {"t": (rest[0] & 127) << 16 | rest[1] << 8 | rest[2], "x": x, "y": y, "p": rest[0] >> 7}


@register_dataset(
    "nmnist",
    kind="events",
    train=60_000,
    test=10_000,
    classes=10,
    shape=FRAMES.shape,
    source="download Train.zip and Test.zip from data.mendeley.com/datasets/468j46mzdv",
    files=(
        SourceFile("Train.zip", "20959b8e626244a1b502305a9e6e2031", "train"),
        SourceFile("Test.zip", "69ca8762b2fe404d9b9bad1103e97832", "test"),
    ),
)
def open_nmnist(path: Path, split: str, time_steps: int | None = None) -> Nmnist:
    """Open N-MNIST: the folder with `Train.zip` and `Test.zip`, one of these, or what they unpack to.

    Raises:
        UsageError: the source has no recording of the split.
    """
    packed = path / f"{FOLDERS[split]}.zip"
    examples = Nmnist(Archive(packed if packed.is_file() else path), split, FRAMES.in_steps(time_steps))
    if len(examples) == 0:
        raise UsageError(
            f"source {str(path)!r} has no recordings of {split!r}; expected "
            f"{FOLDERS[split]}/<digit>/<number>.bin, or the file {FOLDERS[split]}.zip"
        )
    return examples
