"""Spiking Heidelberg Digits (Cramer et al., arXiv:1910.07407): spoken digits as spikes of an ear model."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sadp_dist.data.examples import Examples
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.errors import MissingExtra, UsageError

UNITS = 700
STEPS = 100
SECONDS = 1.4
"""Length of an example; the longest recording is slightly shorter."""


class SpikingDigits:
    """Spike counts (100, 700) uint8: the spikes of each unit in each 14 ms.

    Attributes:
        name, classes, labels: see :class:`~sadp_dist.data.examples.Examples`.
    """

    def __init__(
        self,
        name: str,
        classes: list[str],
        labels: npt.NDArray[np.int64],
        times: list[npt.NDArray[np.floating]],
        units: list[npt.NDArray[np.integer]],
    ) -> None:
        self.name = name
        self.classes = classes
        self.labels = labels
        self._times, self._units = times, units

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        return spike_counts(self._times[index], self._units[index]), int(self.labels[index])


def spike_counts(
    times: npt.NDArray[np.floating],
    units: npt.NDArray[np.integer],
    steps: int = STEPS,
    seconds: float = SECONDS,
) -> npt.NDArray[np.uint8]:
    """Count the spikes of each unit in each time step.

    Args:
        times: times of the spikes in seconds, (n,); spikes at or after `seconds` are left out.
        units: the unit of each spike, (n,).
        steps: T, the number of time steps.
        seconds: length of the example.

    Returns:
        (T, 700) uint8, at most 255.
    """
    step = (times.astype(np.float64) * (steps / seconds)).astype(np.int64)
    inside = (times >= 0) & (step < steps)
    places = step[inside] * UNITS + units[inside].astype(np.int64)
    counts = np.bincount(places, minlength=steps * UNITS).reshape(steps, UNITS)
    return np.minimum(counts, 255).astype(np.uint8)


@register_dataset(
    "shd",
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
)
def open_shd(path: Path, split: str) -> Examples:
    """Open SHD: `shd_train.h5` or `shd_test.h5`, with or without .gz, or their folder.

    Raises:
        UsageError: the file is missing or damaged.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "shd") from error
    file = path
    if path.is_dir():
        found = [path / name for name in (f"shd_{split}.h5", f"shd_{split}.h5.gz") if (path / name).is_file()]
        if not found:
            raise UsageError(f"{path}: has neither shd_{split}.h5 nor shd_{split}.h5.gz")
        file = found[0]
    elif split not in path.name:
        raise UsageError(
            f"{path}: split {split!r} is in the file shd_{split}.h5.gz; give that file or its folder"
        )
    try:
        with h5py.File(_uncompressed(file)) as content:
            return SpikingDigits(
                str(file),
                [_text(key) for key in content["extra/keys"][:]],
                content["labels"][:].astype(np.int64),
                list(content["spikes/times"][:]),
                list(content["spikes/units"][:]),
            )
    except (OSError, EOFError, KeyError, ValueError, zlib.error) as error:
        raise UsageError(f"{file}: not an .h5 file of this dataset ({error}); download it again") from error


def _uncompressed(file: Path) -> Path | io.BytesIO:
    return io.BytesIO(gzip.decompress(file.read_bytes())) if file.suffix == ".gz" else file


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)
