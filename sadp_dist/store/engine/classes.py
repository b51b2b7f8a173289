"""What the classes of a data set get of an epoch's plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 2**16
"""Of a data set with more nobody looks at each."""


@dataclass(frozen=True)
class ClassFigures:
    """A run by class: each list has the figure of class 0, 1, ..., C - 1.

    Attributes:
        epoch: of the latest plan; None before the first.
        examples: how many the data set has.
        drawn: how many of them the plan has drawn.
        score_mean: of those that have a score now; None where none has.
    """

    epoch: int | None
    examples: list[int]
    drawn: list[int]
    score_mean: list[float | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: lists, finite numbers, None."""
        return asdict(self)


def class_figures(
    labels: NDArray[np.integer], scores: NDArray[np.float32], epoch: int | None, drawn: NDArray[np.integer]
) -> ClassFigures | None:
    """Count a data set by class.

    A mean is rounded to float32, as scores are.

    Args:
        labels: (N,) the class of each example.
        scores: (N,) NaN where there is none.
        epoch: of the latest plan; None before the first.
        drawn: (n,) examples that are drawn in it.

    Returns:
        None where a class is beyond `MAX_CLASSES`.
    """
    classes = int(labels.max(initial=-1)) + 1
    if classes > MAX_CLASSES:
        return None
    examples, drawn_of, scored = (np.zeros(classes, np.int64) for _ in range(3))
    sums = np.zeros(classes)
    _count(labels, scores, drawn, examples, drawn_of, scored, sums)
    means = [
        float(np.float32(s / n)) if n else None for s, n in zip(sums.tolist(), scored.tolist(), strict=True)
    ]
    return ClassFigures(epoch, examples.tolist(), drawn_of.tolist(), means)


@numba.njit(cache=True, nogil=True)
def _count(
    labels: NDArray[np.integer],
    scores: NDArray[np.float32],
    drawn: NDArray[np.integer],
    examples_of: NDArray[np.int64],
    drawn_of: NDArray[np.int64],
    scored_of: NDArray[np.int64],
    scores_of: NDArray[np.float64],
) -> None:
    for i in range(len(labels)):
        label = labels[i]
        examples_of[label] += 1
        if not np.isnan(scores[i]):
            scored_of[label] += 1
            scores_of[label] += scores[i]
    for i in drawn:
        drawn_of[labels[i]] += 1
