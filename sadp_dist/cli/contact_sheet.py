"""A picture of the examples with the highest or lowest scores."""

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
    """Draw images in reading order, each under its label and score.

    Args:
        source, split: as for ``open_images``, or a .beton file. It must hold the dataset of the run.
        indices: (k,) of the examples.
        scores: (k,) of the examples.
        out: the image file to write; its suffix selects the format.

    Returns:
        The label of each example: the class name, or the class number if the source has no names.

    Raises:
        UsageError: the source is another dataset, or ``out`` cannot be written.
    """
    from sadp_dist.report.contact_sheet import contact_sheet
    from sadp_dist.report.hardest_examples import class_names

    dataset = _open(source, split)
    if len(indices) and indices.max() >= len(dataset):
        raise UsageError(
            f"--images {source} holds {len(dataset):,} images, but the run scored example {indices.max()}; "
            "give the source and split that the run trained on"
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
        raise UsageError(f"--split {split}: a .beton file holds one split; leave it out")
    from sadp_dist.loading.beton_images import BetonImages

    return BetonImages(source)
