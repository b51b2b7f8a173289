"""Log-mel features: the energy of a sound in bands that are as wide as the ear's, over time."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Samples a second."""
WINDOW, HOP = 480, 160
"""Samples of a window (30 ms, Hann) and from one to the next (10 ms)."""
BANDS = 40
LOWEST, HIGHEST = 20.0, 4_000.0
"""Hz, the outer edges of the first and the last band."""
FLOOR = 1e-6
"""Added to an energy before its logarithm; samples lie in -1..1."""


def log_mel(samples: npt.NDArray[np.floating], length: int = RATE) -> npt.NDArray[np.float32]:
    """The logarithm of the energy in 40 mel bands, every 10 ms, standardised over the whole sound.

    The window, hop and bands are those with which spiking networks have been trained on Speech Commands
    (Zimmer et al., arXiv:1911.10124; Yin, Corradi and Bohté, arXiv:2103.12593), without the features'
    derivatives. Standardised: less its mean, divided by its standard deviation, so that how loud a sound is
    does not matter.

    Args:
        samples: in -1..1, (n,), at 16 kHz; cut off or filled with zeros to `length`.
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
    """(40, 241) weights of the Fourier frequencies in each band: triangles, evenly spaced on the mel scale,
    mel = 2595 log10(1 + f / 700), each from its neighbour's centre to the other's."""
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
    """Periodic, as for a spectrum."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
