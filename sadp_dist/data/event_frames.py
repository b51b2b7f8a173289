"""Streams of events as labelled frames, with SpikingJelly's integration.

A camera of events tells of each pixel whose brightness changes: when (t, in microseconds), where (x, y), and
whether it got brighter (p = 1) or darker (p = 0).
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sadp_dist.data.spikingjelly_readers import reader
from sadp_dist.errors import UsageError

Events = Mapping[str, NDArray[Any]]
"""`t`, `x`, `y` and `p`, each (n,), in the order of time."""


@dataclass(frozen=True)
class Frames:
    """How the events of an example become frames.

    Attributes:
        time_steps: T; each frame has as many events as the others (the last one those left over too).
        height, width: of the sensor, in pixels.
        side: of the square frames that come out, in pixels; None: those of the sensor.
    """

    time_steps: int
    height: int
    width: int
    side: int | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, 2, H, W) of what comes out."""
        return self.time_steps, 2, self.side or self.height, self.side or self.width

    def of(self, events: Events) -> NDArray[Any]:
        """Count the events of each pixel; channel 0 has those of p = 0, channel 1 those of p = 1.

        Returns:
            (T, 2, H, W): counts as uint8, 255 standing for more; made smaller by PIL's bilinear filter, which
            averages over the pixels that fall together, float16.
        """
        integrate = reader("utils").integrate_events_by_fixed_frames_number
        counts = integrate(events, "number", self.time_steps, self.height, self.width)
        if self.side is None:
            return np.asarray(np.minimum(counts, 255), np.uint8)
        size, planes = (self.side, self.side), counts.astype(np.float32).reshape(-1, self.height, self.width)
        images = (Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in planes)
        return np.stack([np.asarray(image, np.float16) for image in images]).reshape(self.shape)


class EventFrames(ABC):
    """A map-style dataset of (frames, label), integrated whenever an example is asked for.

    Args:
        name: where the events come from, for messages.
        classes: the class names; label k is `classes[k]`.
        labels: (N,).
        frames: how events become frames.
    """

    def __init__(self, name: str, classes: Sequence[str], labels: Sequence[int], frames: Frames) -> None:
        self.name = name
        self.classes = list(classes)
        self.labels = np.array(labels, dtype=np.int64)
        self.frames = frames

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], int]:
        """Frames and label. A damaged file is a `UsageError` that names it."""
        try:
            return self.frames.of(self.events(index)), int(self.labels[index])
        except UsageError:
            raise
        except (OSError, EOFError, ValueError, IndexError, KeyError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{self.name}: {self.place(index)} cannot be read ({reason}); replace it or take it out"
            ) from error

    @abstractmethod
    def events(self, index: int) -> Events:
        """The events of an example."""

    @abstractmethod
    def place(self, index: int) -> str:
        """The file that an example is in, for messages."""


def load_npz(path: Any) -> Events:
    """Events from the .npz files that SpikingJelly writes: arrays `t`, `x`, `y` and `p`."""
    with np.load(path) as arrays:
        return {key: arrays[key] for key in ("t", "x", "y", "p")}
