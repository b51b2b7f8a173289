"""What the classes of a data set get of an epoch's plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

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


class ClassSums(NamedTuple):
    """Of one part of the data set: what there is of each class, all (C,)."""

    examples: NDArray[np.int64]
    drawn: NDArray[np.int64]
    scored: NDArray[np.int64]
    scores: NDArray[np.float64]


def class_sums(
    labels: NDArray[np.integer], scores: NDArray[np.float32], drawn: NDArray[np.integer]
) -> ClassSums | None:
    """Count a part of the data set by class.

    Args:
        labels: (n,) the class of each example.
        scores: (n,) NaN where there is none.
        drawn: (m,) examples that are drawn, from 0.

    Returns:
        None where a class is beyond `MAX_CLASSES`.
    """
    classes = int(labels.max(initial=-1)) + 1
    if classes > MAX_CLASSES:
        return None
    examples, drawn_of, scored = (np.zeros(classes, np.int64) for _ in range(3))
    sums = ClassSums(examples, drawn_of, scored, np.zeros(classes))
    _count(labels, scores, drawn, *sums)
    return sums


def class_figures(epoch: int | None, parts: Sequence[ClassSums]) -> ClassFigures:
    """The figures of a data set from the counts of its parts.

    A mean is rounded to float32, as scores are: the order in which the parts were added is not seen in it.
    """
    classes = max(len(part.examples) for part in parts)
    examples, drawn, scored, scores = (
        np.sum([np.pad(counts, (0, classes - len(counts))) for counts in of_parts], axis=0)
        for of_parts in zip(*parts, strict=True)
    )
    means = [
        float(np.float32(s / n)) if n else None for s, n in zip(scores.tolist(), scored.tolist(), strict=True)
    ]
    return ClassFigures(epoch, examples.tolist(), drawn.tolist(), means)


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
