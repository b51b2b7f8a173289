"""The pixels of an image of any map-style dataset, before they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sadp_dist.data.pixels import Unreadable, with_channels
from sadp_dist.errors import UsageError


def pixels_of(image: Any, channels: int, index: int) -> npt.NDArray[Any]:
    """Return the pixels of a PIL image, uint8 (H, W) or (H, W, channels); an array stays as it is.

    Raises:
        UsageError: the image has pixels without a known range, such as floats above 1.
    """
    if not isinstance(image, Image.Image):
        return np.asarray(image)
    try:
        return np.asarray(with_channels(image, channels))
    except Unreadable as error:
        raise UsageError(f"source: image {index} cannot be stored ({error}); convert it to 8 bits") from error
