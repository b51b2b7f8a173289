"""A contact sheet: images in rows with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image


def contact_sheet(images: Sequence[Image.Image], captions: Sequence[str]) -> Figure:
    """Return a figure of images in reading order, ten per row.

    Args:
        images: (k,) of any size.
        captions: (k,) text above each image.
    """
    columns = max(1, min(10, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows), layout="constrained")
    for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.axis("off")
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        axes.imshow(np.asarray(image), interpolation="nearest")
        axes.set_title(caption, fontsize=6, parse_math=False)
    return figure
