"""Log-mel features: the energy of a sound over time, in frequency bands modelled on human hearing."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Samples per second."""
WINDOW, HOP = 480, 160
"""Length of a Hann window (30 ms) and the distance between two windows (10 ms), in samples."""
BANDS = 40
LOWEST, HIGHEST = 20.0, 4_000.0
"""The lower edge of the first band and the upper edge of the last band, in Hz."""
FLOOR = 1e-6
"""Added to an energy before its logarithm is taken; samples are in -1..1."""


def log_mel(samples: npt.NDArray[np.floating], length: int = RATE) -> npt.NDArray[np.float32]:
    """Return the logarithm of the energy in 40 mel bands, every 10 ms, standardised over the sound.

    The window, hop and bands are those of earlier spiking networks for Speech Commands (Zimmer et al.,
    arXiv:1911.10124; Yin, Corradi and Bohté, arXiv:2103.12593), without the features' derivatives. The
    features have mean 0 and standard deviation 1, so the volume of a sound does not matter.

    Args:
        samples: in -1..1, (n,), at 16 kHz; truncated or padded with zeros to `length`.
        length: samples, 16,000 for a second.

    Returns:
        (T, 40) float32 with T = 1 + length / 160: 101 for a second. Silence is all zeros.
    """
    sound = np.zeros(length + 2 * (WINDOW // 2))
    kept = samples[:length]
    sound[WINDOW // 2 : WINDOW // 2 + len(kept)] = kept  # window t is centred on sample 160 t
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * _hann(), axis=1)) ** 2
    energies = np.log(power @ mel_bands().T + FLOOR)
    deviation = energies.std()
    if deviation < 1e-6:
        return np.zeros(energies.shape, np.float32)
    standard: npt.NDArray[np.float64] = (energies - energies.mean()) / deviation
    return standard.astype(np.float32)


@cache
def mel_bands() -> npt.NDArray[np.float64]:
    """Return the weights of the Fourier frequencies in each band, (40, 241).

    Bands are triangles, evenly spaced on the mel scale, mel = 2595 log10(1 + f / 700). A triangle begins and
    ends at the centres of its neighbours.
    """
    edges = np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - lower) / (centre - lower), (upper - frequencies) / (upper - centre)
    return np.maximum(np.minimum(rising, falling), 0)


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


@cache
def _hann() -> npt.NDArray[np.float64]:
    """Return the periodic Hann window, (480,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
