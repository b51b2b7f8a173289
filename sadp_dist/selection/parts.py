"""A data set in ranges of examples, perhaps each in another process: what a plan asks of them.

Scores stay where they are. A question goes to every part, and something small comes back: sums over blocks,
counts, bits. Parts begin at a multiple of `BLOCK` examples, and what is rounded is rounded inside a block, so
that the answers together have the same bits however many parts there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 16_384

Probability = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""The probabilities of some examples from their scores: what a rule decides, and every part is told."""


class ProbabilityByClass(ABC):
    """As `Probability`, of the class too."""

    @abstractmethod
    def __call__(self, scores: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
        """The probabilities of some examples from their scores and classes."""


AnyProbability = Probability | ProbabilityByClass


class Parts(Protocol):
    """All parts of a data set.

    Attributes:
        ranges: their examples: the first range begins at 0, each other one where the one before it ends.
    """

    ranges: Sequence[range]

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part with the same arguments; the results in the order of the ranges."""
        ...

    def each_its(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """As `each`, every part with arguments of its own."""
        ...


class LocalParts:
    """Parts in this process.

    Args:
        parts: `Part`s in the order of their ranges, which are their attribute `range`.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self.ranges: Sequence[range] = [part.range for part in parts]

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """See `Parts.each`."""
        return [getattr(part, method)(*arguments) for part in self._parts]

    def each_its(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Parts.each_its`."""
        return [getattr(part, method)(*its) for part, its in zip(self._parts, arguments, strict=True)]


def split(dataset_size: int, count: int) -> list[range]:
    """`count` ranges of whole blocks, as equal as these allow; fewer where there are fewer blocks."""
    blocks = max(-(-dataset_size // BLOCK), 1)
    count = min(count, blocks)
    bounds = [min(blocks * part // count * BLOCK, dataset_size) for part in range(count + 1)]
    return [range(begin, end) for begin, end in pairwise(bounds)]
