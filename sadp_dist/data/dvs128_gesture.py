"""DVS128 Gesture (Amir et al., CVPR 2017): an event camera filmed eleven gestures of hands and arms.

A recording has many gestures, one after the other. A table beside it has the class, begin and end of each.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sadp_dist.data.event_frames import EventFrames, Events, Frames
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.data.spikingjelly_readers import reader
from sadp_dist.errors import UsageError

CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
FRAMES = Frames(time_steps=16, height=128, width=128)


class Gesture(NamedTuple):
    """Part of a recording.

    Attributes:
        recording: the .aedat file.
        begin, end: in microseconds; the end is exclusive.
    """

    recording: Path
    begin: int
    end: int


class Dvs128Gesture(EventFrames):
    """Frames from .aedat files (AEDAT 3.1), cut at the times in the tables, which count classes from 1."""

    def __init__(self, root: Path, split: str, frames: Frames = FRAMES) -> None:
        trials = (root / f"trials_to_{split}.txt").read_text(encoding="utf-8").split()
        self._gestures: list[Gesture] = []
        labels: list[int] = []
        for trial in trials:
            recording = root / trial
            table = recording.with_name(f"{recording.stem}_labels.csv")
            try:
                rows = np.loadtxt(table, dtype=np.int64, delimiter=",", skiprows=1, ndmin=2)
                self._gestures += [Gesture(recording, int(begin), int(end)) for _, begin, end in rows]
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise UsageError(f"{table}: not a table of class, begin and end ({reason})") from error
            labels += (rows[:, 0] - 1).tolist()
        super().__init__(str(root), CLASSES, labels, frames)

    def events(self, index: int) -> Events:
        recording, begin, end = self._gestures[index]
        events = _recording(recording)
        inside = (events["t"] >= begin) & (events["t"] < end)
        return {key: values[inside] for key, values in events.items()}

    def place(self, index: int) -> str:
        recording, begin, end = self._gestures[index]
        return f"{recording} from {begin} to {end} us"


@lru_cache(1)
def _recording(path: Path) -> Events:
    """Read a recording; it is cached because the next example is probably in it as well."""
    loaded: Events = reader("utils").load_aedat_v3(path)
    return loaded


@register_dataset(
    "dvs128-gesture",
    kind="events",
    train=1_176,
    test=288,
    classes=11,
    shape=FRAMES.shape,
    source="download DvsGesture.tar.gz from ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8 and unpack it",
    files=(SourceFile("DvsGesture.tar.gz", "8a5c71fb11e24e5ca5b11866ca6c00a1"),),
)
def open_dvs128_gesture(path: Path, split: str, time_steps: int | None = None) -> Dvs128Gesture:
    """Open DVS128 Gesture: the unpacked folder `DvsGesture`, or the folder above it.

    Raises:
        UsageError: the folder has no list of recordings, or a recording has no table.
    """
    for root in (path, path / "DvsGesture"):
        if (root / f"trials_to_{split}.txt").is_file():
            return Dvs128Gesture(root, split, FRAMES.in_steps(time_steps))
    packed = path.name == "DvsGesture.tar.gz" or (path / "DvsGesture.tar.gz").is_file()
    what = "is not unpacked: tar xzf DvsGesture.tar.gz" if packed else f"has no trials_to_{split}.txt"
    raise UsageError(f"source {str(path)!r} {what}; expected the folder DvsGesture")
