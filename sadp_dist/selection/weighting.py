"""The weight of a drawn example, from its score and the probability that it was drawn with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEIGHTS = ("importance", "inverse", "one")

Weight = Callable[[NDArray[np.floating], NDArray[np.float64]], NDArray[np.float64]]
"""weight(scores, probabilities) of some drawn examples: what a rule decides, and every part is told."""


@dataclass(frozen=True)
class PerProbability:
    """w = c / p."""

    c: float

    def __call__(self, scores: NDArray[np.floating], p: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.c / p


@dataclass(frozen=True)
class One:
    """w = 1."""

    def __call__(self, scores: NDArray[np.floating], p: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones(len(p))
