"""Generated sounds, so that you can try an audio dataset without its files: gliding tones in noise.

A class is an ordered pair of frequencies. Half of the classes are the other half played backwards, so a
network has to use the order in time to tell them apart.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt

from sadp_dist.data.sound_features import HOP, RATE, log_mel

ENDS = (500.0, 900.0, 1_500.0, 2_500.0)
"""The frequencies between which tones glide, in Hz."""
PITCH = 0.1
"""Standard deviation of the natural logarithm of an example's pitch."""
NOISE = (0.2, 1.0)
"""Lowest and highest standard deviation of an example's noise; a tone has the amplitude 0.5."""


class GlidingTones:
    """Features (T, 40) float32, generated when an example is requested. T = 26 for a quarter of a second.

    Args:
        split: seed of the random numbers, together with the number of the example.
        size: N; the classes alternate.
        samples: of a sound, a multiple of 160, at 16 kHz.

    Attributes:
        name, classes, labels: see :class:`~sadp_dist.data.examples.Examples`.
    """

    def __init__(self, split: str, size: int, samples: int = RATE // 4) -> None:
        self._ends = list(permutations(ENDS, 2))
        self._key, self._samples = list(split.encode()), samples
        self.name = f"generated sounds ({split})"
        self.classes = [f"{first:.0f} to {last:.0f} Hz" for first, last in self._ends]
        self.labels = np.arange(size, dtype=np.int64) % len(self.classes)

    @property
    def time_steps(self) -> int:
        """T, the frames of a sound."""
        return 1 + self._samples // HOP

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        return log_mel(self.samples(index), self._samples), int(self.labels[index])

    def samples(self, index: int) -> npt.NDArray[np.float64]:
        """Return a sound: noise, and a tone of random start, length and pitch with values in -1..1."""
        draw = np.random.default_rng([*self._key, index])
        first, last = np.array(self._ends[self.labels[index]]) * np.exp(draw.normal(0, PITCH))
        length = int(self._samples * draw.uniform(0.4, 0.8))
        begin = int(draw.uniform(0, self._samples - length))
        along = np.arange(length) / length
        phase = 2 * np.pi * np.cumsum(first * (last / first) ** along) / RATE
        sound = draw.normal(0, draw.uniform(*NOISE), self._samples)
        sound[begin : begin + length] += 0.5 * np.hanning(length) ** 0.25 * np.sin(phase)
        return sound
