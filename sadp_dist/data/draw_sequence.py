"""Sequences as pictures, for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BRIGHTEST = 99.0
"""Percentile of the pixels with events that is drawn brightest: hot pixels would leave the rest dark."""


def draw_sequence(sequence: NDArray[Any]) -> Image.Image:
    """Draw an example of a sequence.

    Args:
        sequence: event frames (T, 2, H, W), which are summed over time, events that brighten (channel 1) in
            red and those that darken (channel 0) in blue; other frames (T, C, H, W), summed over time and
            channels, in grey; or features (T, F), time from left to right, the first feature at the bottom.

    Returns:
        RGB; black where nothing is.
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
