"""A simulated event camera, so that you can try an event dataset without its files.

The camera films an image that moves along a closed path of four edges. CIFAR10-DVS was recorded this way
from the images of CIFAR-10 (Li et al., Frontiers in Neuroscience, 2017).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sadp_dist.choices import check_choice
from sadp_dist.data import cifar10_dvs, dvs128_gesture, hardvs
from sadp_dist.data.aedat_files import write_aedat2, write_aedat3
from sadp_dist.data.event_frames import EventFrames, Events, Frames

REACH = 4
"""How far the image moves from the centre in each direction, in pixels."""
STEPS = 16
"""Brightness samples along an edge of the path."""
EDGE_US = 50_000
"""Time for one edge, in microseconds."""
DARK = 0.05
"""Added to the brightness (0 to 1) before its logarithm is taken."""


def film(
    image: Image.Image, height: int = 128, width: int = 128, loops: int = 2, threshold: float = 0.25
) -> dict[str, NDArray[np.int64]]:
    """Return the events of a moving image.

    A pixel emits an event whenever the logarithm of its brightness has risen (p = 1) or fallen (p = 0) by
    `threshold` since its last event. The events of a step are spread evenly over its time.

    Args:
        image: any mode and size; it is resized to the size of the sensor.
        height, width: of the sensor, in pixels.
        loops: how often the path is repeated; one loop takes 0.2 s.
        threshold: change of the logarithm of the brightness.

    Returns:
        `t` (microseconds from 0, ascending), `x`, `y` and `p`, each int64 (n,).
    """
    size = width + 2 * REACH + 1, height + 2 * REACH + 1
    scene = image.convert("L").resize(size, Image.Resampling.BICUBIC)
    brightness = np.log(DARK + np.asarray(scene, np.float64) / 255)
    corners = REACH * np.array([(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)])
    along = np.arange(STEPS)[:, None] / STEPS
    path = np.concatenate([a + (b - a) * along for a, b in pairwise(corners)])
    told = _seen(brightness, path[0], height, width)
    ticks, rows, columns, signs = [], [], [], []
    for step in range(1, loops * len(path) + 1):
        change = np.trunc((_seen(brightness, path[step % len(path)], height, width) - told) / threshold)
        told += change * threshold
        y, x = np.nonzero(change)
        times = np.abs(change[y, x]).astype(np.int64)
        y, x, n = np.repeat(y, times), np.repeat(x, times), np.repeat(times, times)
        which = np.arange(len(n)) - np.repeat(np.cumsum(times) - times, times)
        ticks.append((step - 1 + (which + 1) / (n + 1)) * (EDGE_US / STEPS))
        rows.append(y)
        columns.append(x)
        signs.append(change[y, x] > 0)
    t = np.concatenate(ticks).astype(np.int64)
    order = np.argsort(t, kind="stable")
    parts = {"t": t, "x": np.concatenate(columns), "y": np.concatenate(rows), "p": np.concatenate(signs)}
    return {key: values[order].astype(np.int64) for key, values in parts.items()}


def _seen(brightness: NDArray[np.float64], at: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Return the image on the sensor when it is shifted by `at` = (x, y) pixels, linearly interpolated."""
    (left, top), (right, down) = np.divmod(REACH - at, 1)
    x, y = int(left), int(top)
    between = (1 - down) * brightness[y : y + height] + down * brightness[y + 1 : y + 1 + height]
    seen: NDArray[np.float64] = (1 - right) * between[:, x : x + width]
    seen += right * between[:, x + 1 : x + 1 + width]
    return seen


class Filmed(EventFrames):
    """Labelled images, filmed by the simulated camera when an example is requested.

    Args:
        images: a map-style dataset of (PIL image, label) with `name`, `classes` and `labels`, such as
            `open_images` returns.
        frames: T and the size of the sensor; images are resized to it.
        loops: as in `film`.
    """

    def __init__(self, images: Any, frames: Frames, loops: int = 1) -> None:
        super().__init__(f"{images.name}, filmed", images.classes, images.labels, frames)
        self._images, self._loops = images, loops

    def events(self, index: int) -> Events:
        return film(self._images[index][0], self.frames.height, self.frames.width, self._loops)

    def place(self, index: int) -> str:
        return f"image {index}"


Films = Iterable[tuple[str, int, int, Events]]
"""(split, label, number within the class and split, events) of each film."""


def film_dataset(
    name: str, images: Any, folder: str | Path, train: int = 16, test: int = 4, loops: int = 2
) -> None:
    """Film labelled images with the simulated camera, and write the files of a public dataset.

    Args:
        name: "cifar10-dvs", "hardvs" or "dvs128-gesture".
        images: a map-style dataset of (PIL image, label) with `labels`, such as `open_images` returns. Its
            labels are used as labels of the event dataset, which must have at least as many classes.
        folder: where the files are written; it is created.
        train: the number of training images per class, taken first.
        test: the number of test images per class, taken after the training images.
        loops: as in `film`.

    Raises:
        UsageError: the name is unknown.
    """
    check_choice("name", name, _WRITERS)
    write, frames = _WRITERS[name]
    root = Path(folder).expanduser()
    root.mkdir(parents=True, exist_ok=True)

    def films() -> Films:
        for label in np.unique(images.labels).tolist():
            chosen = np.flatnonzero(images.labels == label)[: train + test].tolist()
            for number, index in enumerate(chosen):
                events = film(images[index][0], frames.height, frames.width, loops)
                split, number = ("train", number) if number < train else ("test", number - train)
                yield split, label, number, events

    write(root, films())


def _write_cifar10_dvs(root: Path, films: Films) -> None:
    for split, label, number, events in films:
        name = cifar10_dvs.CLASSES[label]
        number += 0 if split == "train" else cifar10_dvs.FIRST_TEST
        (root / name).mkdir(exist_ok=True)
        write_aedat2(root / name / f"cifar10_{name}_{number}.aedat", events)


def _write_hardvs(root: Path, films: Films) -> None:
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for split, label, number, events in films:
        name = f"{hardvs.CLASSES[label]}/{split}-{number}"
        (root / name).parent.mkdir(exist_ok=True)
        np.savez_compressed(root / f"{name}.npz", **dict[str, Any](events))
        lists[split].append(f"{name} {label}\n")
    for split, lines in lists.items():
        (root / f"{split}_label.txt").write_text("".join(lines), encoding="utf-8")


def _write_dvs128_gesture(root: Path, films: Films) -> None:
    """Write one recording per number: the films of all classes, 0.1 s apart."""
    recordings: dict[tuple[str, int], list[tuple[int, Events]]] = {}
    for split, label, number, events in films:
        recordings.setdefault((split, number), []).append((label, events))
    trials: dict[str, list[str]] = {"train": [], "test": []}
    for (split, number), gestures in recordings.items():
        name, begin, rows, parts = f"user{number + 1:02d}_{split}", 100_000, [], []
        for label, events in gestures:
            end = begin + int(events["t"][-1]) + 1
            rows.append(f"{label + 1},{begin},{end}\n")
            parts.append({**events, "t": events["t"] + begin})
            begin = end + 100_000
        whole = {key: np.concatenate([part[key] for part in parts]) for key in ("t", "x", "y", "p")}
        write_aedat3(root / f"{name}.aedat", whole)
        table = "class,startTime_usec,endTime_usec\n" + "".join(rows)
        (root / f"{name}_labels.csv").write_text(table, encoding="utf-8")
        trials[split].append(f"{name}.aedat\n")
    for split, lines in trials.items():
        (root / f"trials_to_{split}.txt").write_text("".join(lines), encoding="utf-8")


_WRITERS = {
    "cifar10-dvs": (_write_cifar10_dvs, cifar10_dvs.FRAMES),
    "hardvs": (_write_hardvs, hardvs.FRAMES),
    "dvs128-gesture": (_write_dvs128_gesture, dvs128_gesture.FRAMES),
}
