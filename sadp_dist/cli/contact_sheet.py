"""A picture of the examples with the highest or lowest scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.data.fingerprints import check_data_of_run
from sadp_dist.errors import UsageError
from sadp_dist.loading.shown_images import open_shown_images

if TYPE_CHECKING:
    from sadp_dist.store import StoreStats


def draw_contact_sheet(
    source: str,
    split: str | None,
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
    out: Path,
    run: StoreStats | None = None,
) -> list[str]:
    """Draw images in reading order, each under its label and score.

    Args:
        source, split: as for ``open_images``, or a .beton file. It must hold the dataset of the run.
        indices: (k,) of the examples.
        scores: (k,) of the examples.
        out: the image file to write; its suffix selects the format.
        run: the statistics of the run, which know its data.

    Returns:
        The label of each example: the class name, or the class number if the source has no names.

    Raises:
        UsageError: the source is another dataset, or ``out`` cannot be written.
    """
    from sadp_dist.report.contact_sheet import contact_sheet
    from sadp_dist.report.hardest_examples import class_names

    dataset = open_shown_images(source, split)
    if run is not None:
        check_data_of_run(f"--images {source}", dataset, run.dataset_size, run.data)
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
