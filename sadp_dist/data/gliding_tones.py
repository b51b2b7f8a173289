"""Generated sounds, to try a dataset of sounds without its data: tones that glide, amid noise.

A class is a pair of frequencies in one order. Half of the classes are the other half backwards, so that the
energies alone, without their order in time, do not tell them apart.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt

from sadp_dist.data.log_mel import HOP, RATE, log_mel

ENDS = (500.0, 900.0, 1_500.0, 2_500.0)
"""Hz, between which tones glide."""
PITCH = 0.1
"""Standard deviation of an example's pitch, in natural logarithms."""
NOISE = (0.2, 1.0)
"""Standard deviation of the noise from example to example, where a tone's amplitude is 0.5."""


class GlidingTones:
    """Features (T, 40) float32, T = 26 for a quarter of a second, made whenever an example is asked for.

    Args:
        split: key of what is drawn, with the number of the example.
        size: examples, the classes in turn.
        samples: of a sound, a multiple of 160, at 16 kHz.

    Attributes:
        name, classes, labels: as of :class:`~sadp_dist.data.examples.Examples`.
    """

    def __init__(self, split: str, size: int, samples: int = RATE // 4) -> None:
        self._ends = list(permutations(ENDS, 2))
        self._key, self._samples = list(split.encode()), samples
        self.name = f"generated sounds ({split})"
        self.classes = [f"{first:.0f} to {last:.0f} Hz" for first, last in self._ends]
        self.labels = np.arange(size, dtype=np.int64) % len(self.classes)

    @property
    def time_steps(self) -> int:
        """T."""
        return 1 + self._samples // HOP

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        return log_mel(self.samples(index), self._samples), int(self.labels[index])

    def samples(self, index: int) -> npt.NDArray[np.float64]:
        """A sound, in -1..1 but for the noise: a tone with a beginning, a length and a pitch of its own."""
        draw = np.random.default_rng([*self._key, index])
        first, last = np.array(self._ends[self.labels[index]]) * np.exp(draw.normal(0, PITCH))
        length = int(self._samples * draw.uniform(0.4, 0.8))
        begin = int(draw.uniform(0, self._samples - length))
        along = np.arange(length) / length
        phase = 2 * np.pi * np.cumsum(first * (last / first) ** along) / RATE
        sound = draw.normal(0, draw.uniform(*NOISE), self._samples)
        sound[begin : begin + length] += 0.5 * np.hanning(length) ** 0.25 * np.sin(phase)
        return sound
