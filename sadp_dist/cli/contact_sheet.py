"""A picture of the examples that a store ranks highest or lowest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError


def draw_contact_sheet(
    source: str, split: str | None, indices: NDArray[np.int64], scores: NDArray[np.float32], out: Path
) -> list[str]:
    """Draw images in reading order with label and score above each.

    Args:
        source, split: as for ``open_images``; must hold the data set that was trained on.
        indices: (k,) which examples.
        scores: (k,) their scores.
        out: the image file to write; its ending names the format.

    Returns:
        the label of each example, as the class's name.
    """
    from matplotlib.figure import Figure

    dataset = open_images(source, split=split)
    if len(indices) and indices.max() >= len(dataset):
        raise UsageError(
            f"--images {source} holds {len(dataset):,} images, but example {indices.max()} was scored; "
            "give the source and split that were trained on"
        )
    columns = max(1, min(10, len(indices)))
    rows = max(1, math.ceil(len(indices) / columns))
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows), layout="constrained")
    labels = []
    for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.axis("off")
    for axes, index, score in zip(grid.flat, indices, scores, strict=False):
        image, label = dataset[int(index)]
        labels.append(str(dataset.classes[label]))
        axes.imshow(np.asarray(image), interpolation="nearest")
        axes.set_title(f"{labels[-1]}\n{score:.3g}", fontsize=6)
    try:
        figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {out} cannot be written: {' '.join(str(error).split())}") from None
    return labels
