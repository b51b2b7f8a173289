"""Draw an example of a sequence dataset as an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BRIGHTEST = 99.0
"""Percentile of the nonzero pixels that is drawn at full brightness, so hot pixels do not hide the rest."""


def draw_sequence(sequence: NDArray[Any]) -> Image.Image:
    """Draw an example of a sequence.

    Args:
        sequence: one of these. Event frames (T, 2, H, W) are summed over time: brighter (channel 1) is red,
            darker (channel 0) is blue. Other frames (T, C, H, W) are summed over time and channels, and drawn
            in grey. Features (T, F) are drawn with time from left to right, the first feature at the bottom.

    Returns:
        An RGB image; zero is black.
    """
    values = np.asarray(sequence, np.float32)
    if values.ndim == 4 and values.shape[1] == 2:
        off, on = values.sum(axis=0)
        planes = on, np.zeros_like(on), off
    elif values.ndim == 4:
        planes = (values.sum(axis=(0, 1)),) * 3
    else:
        features = values.reshape(len(values), -1).T[::-1]
        planes = (features - features.min(),) * 3
    pixels = np.stack(planes, axis=-1)
    there = pixels[pixels > 0]
    brightest = np.percentile(there, BRIGHTEST) if there.size else 1.0
    return Image.fromarray((255 * np.clip(pixels / brightest, 0, 1)).astype(np.uint8))
