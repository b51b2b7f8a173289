"""Turn the events of an event camera into labelled frames, with SpikingJelly's integration.

An event camera emits an event when the brightness of a pixel changes: the time t in microseconds, the
position (x, y), and the polarity p, which is 1 for brighter and 0 for darker.
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.data.spikingjelly_readers import reader
from sadp_dist.errors import UsageError

Events = Mapping[str, NDArray[Any]]
"""`t`, `x`, `y` and `p`, each (n,), ordered by time."""


@dataclass(frozen=True)
class Frames:
    """How the events of an example become frames.

    Attributes:
        time_steps: T. Every frame has the same number of events; the last one also has the remainder.
        height, width: of the sensor, in pixels.
        side: height and width of the frames, in pixels; None keeps the size of the sensor.
    """

    time_steps: int
    height: int
    width: int
    side: int | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of an example's frames, (T, 2, H, W)."""
        return self.time_steps, 2, self.side or self.height, self.side or self.width

    def in_steps(self, time_steps: int | None) -> Frames:
        """Return the same frames with another T; None keeps it.

        Raises:
            UsageError: T is below 1.
        """
        if time_steps is None:
            return self
        if time_steps < 1:
            raise UsageError(f"time_steps={time_steps}: must be at least 1")
        return replace(self, time_steps=time_steps)

    def of(self, events: Events) -> NDArray[Any]:
        """Count the events of each pixel: p = 0 in channel 0, p = 1 in channel 1.

        Returns:
            (T, 2, H, W). Without `side`, uint8 counts, at most 255. With `side`, the counts are resized by
            PIL's bilinear filter, which averages over the pixels that are merged, float16.
        """
        integrate = reader("utils").integrate_events_by_fixed_frames_number
        counts = integrate(events, "number", self.time_steps, self.height, self.width)
        if self.side is None:
            return np.asarray(np.minimum(counts, 255), np.uint8)
        from PIL import Image  # not at the top: a configuration is checked without Pillow

        size, planes = (self.side, self.side), counts.astype(np.float32).reshape(-1, self.height, self.width)
        images = (Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in planes)
        return np.stack([np.asarray(image, np.float16) for image in images]).reshape(self.shape)


class EventFrames(ABC):
    """A map-style dataset of (frames, label), integrated when an example is requested.

    Args:
        name: the source of the events, for messages.
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
        """Return frames and label. A damaged file raises a `UsageError` that names it."""
        try:
            return self.frames.of(self.events(index)), int(self.labels[index])
        except UsageError:
            raise
        except (OSError, EOFError, ValueError, IndexError, KeyError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{self.name}: {self.place(index)} cannot be read ({reason}); replace or remove it"
            ) from error

    @abstractmethod
    def events(self, index: int) -> Events:
        """Return the events of an example."""

    @abstractmethod
    def place(self, index: int) -> str:
        """Return the file of an example, for messages."""


def load_npz(path: Any) -> Events:
    """Read events from a .npz file that SpikingJelly wrote: arrays `t`, `x`, `y` and `p`."""
    with np.load(path) as arrays:
        return {key: arrays[key] for key in ("t", "x", "y", "p")}
