"""A picture of the examples that a store ranks highest or lowest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.report.hardest_examples import TrainingImages


def draw_contact_sheet(
    source: str, split: str | None, indices: NDArray[np.int64], scores: NDArray[np.float32], out: Path
) -> list[str]:
    """Draw images in reading order with label and score above each.

    Args:
        source, split: as for ``open_images``, or a .beton; must hold the data set that was trained on.
        indices: (k,) which examples.
        scores: (k,) their scores.
        out: the image file to write; its ending names the format.

    Returns:
        the label of each example, as the class's name, or its number where the source has no names.
    """
    from sadp_dist.report.contact_sheet import contact_sheet
    from sadp_dist.report.hardest_examples import class_names

    dataset = _open(source, split)
    if len(indices) and indices.max() >= len(dataset):
        raise UsageError(
            f"--images {source} holds {len(dataset):,} images, but example {indices.max()} was scored; "
            "give the source and split that were trained on"
        )
    examples = [dataset[int(index)] for index in indices]
    names = class_names(dataset)
    labels = [names[label] if names else str(label) for _, label in examples]
    captions = [f"{label}\n{score:.3g}" for label, score in zip(labels, scores, strict=True)]
    figure = contact_sheet([image for image, _ in examples], captions)
    try:
        figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {out} cannot be written: {' '.join(str(error).split())}") from None
    return labels


def _open(source: str, split: str | None) -> TrainingImages:
    if not source.endswith(".beton"):
        return open_images(source, split)
    if split is not None:
        raise UsageError(f"--split {split}: a .beton holds one split; leave it out")
    from sadp_dist.loading.beton_images import BetonImages

    return BetonImages(source)
