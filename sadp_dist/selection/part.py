"""One part of a data set: the scores of a range of examples, and the steps of a plan that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.blocks import by_block, run_of_rank
from sadp_dist.selection.order import empty_row, shuffled
from sadp_dist.selection.parts import BLOCK, AnyProbability, ProbabilityByClass, split
from sadp_dist.selection.random import bits
from sadp_dist.selection.sharding import Drawn
from sadp_dist.selection.systematic import (
    add_steps,
    add_steps_by_stratum,
    positions_after,
    walk,
    walk_strata,
)
from sadp_dist.selection.threads import in_threads, thread_count
from sadp_dist.selection.weighting import Weight

_SCORE_BINS = 32  # of the probability, inside a class
_LOOK = 256 * BLOCK  # examples that a thread looks at in one go: enough to be worth a thread
_WEIGHED = 4 * BLOCK  # examples that it weighs in one go, so few that they stay in its cache
_STRETCH = 16 * BLOCK  # examples from which a thread of its own is worth it where each takes more work


class Part:
    """The scores of a range of examples. What its methods return is small beside them.

    Args:
        scores: (n,) float32 or float64; NaN for an example that has none yet.
        first: the first example's index, a multiple of `BLOCK`.
        dataset_size: N, of all parts; by default this one is all.
        labels: (n,) integers, the class of each example, where strata are drawn from.

    Attributes:
        range: of the examples.
        scores: as given.
    """

    def __init__(
        self,
        scores: NDArray[np.floating],
        first: int = 0,
        dataset_size: int | None = None,
        labels: NDArray[np.integer] | None = None,
    ) -> None:
        self.range = range(first, first + len(scores))
        self.dataset_size = len(scores) if dataset_size is None else dataset_size
        self.scores = scores
        self._stand_in: float | None = None
        self._walks: list[tuple[range, NDArray[np.uint64]]] = []  # stretches, and the sums in each
        self._labels = labels
        self._drawn: dict[int, Drawn] = {}

    def begin(self) -> bool:
        """Begin a plan; returns whether an example has no score."""
        self._stand_in = None
        return any(in_threads(_has_nan, [self.scores[some] for some in _slices(len(self.range), _LOOK)]))

    def fill(self, stand_in: float) -> None:
        """Let every example without a score have this one in the plan under way."""
        self._stand_in = stand_in

    def compute(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(scores, *arguments), with the scores of the plan under way: how a rule looks at them."""
        return function(self._scores_in(slice(None)), *arguments)

    def compute_in_ranges(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """As `compute`, for ranges of the examples, of whole blocks: the results, ascending.

        The ranges take turns in threads, and where examples have no score, only ranges are copied.
        """
        return in_threads(
            lambda some: function(self._scores_in(some), *arguments), _slices(len(self.range), _LOOK)
        )

    def compute_by_class(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(scores, labels, *arguments), with the scores of the plan under way."""
        assert self._labels is not None, "a rule by class where there are no labels"
        return function(self._scores_in(slice(None)), self._labels, *arguments)

    def step_sums(
        self, probability: AnyProbability, stratify: str
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """The strata, ascending, and the sum of the probabilities in each; see `systematic`."""
        strata = self._strata(stratify)

        def sums_of(stretch: range) -> NDArray[np.uint64]:
            sums = np.zeros(len(strata), np.uint64)
            for block in _blocks(stretch):
                p = self._probabilities(probability, block)
                if stratify == "none":
                    add_steps(p, sums)
                else:
                    add_steps_by_stratum(p, self._stratum(p, block, stratify), sums)
            return sums

        stretches = self._stretches()
        sums = in_threads(sums_of, stretches)
        self._walks = list(zip(stretches, sums, strict=True))
        return strata, np.sum(sums, axis=0, dtype=np.uint64)

    def draw_systematically(
        self, probability: AnyProbability, stratify: str, key: np.uint64, positions: NDArray[np.uint64]
    ) -> NDArray[np.uint8]:
        """Walk from the positions of the strata, after `step_sums`; which are drawn, as packed bits."""
        packed = np.empty(-(-len(self.range) // 8), np.uint8)

        def walk_stretch(begin: tuple[range, NDArray[np.uint64]]) -> None:
            stretch, at = begin
            row, drawn = empty_row(BLOCK), np.empty(BLOCK, np.bool_)
            for block in _blocks(stretch):
                p = self._probabilities(probability, block)
                number = (self.range.start + block.start) // BLOCK
                if stratify == "none":
                    walk(p, key, number, row, at, drawn)
                else:
                    walk_strata(p, self._stratum(p, block, stratify), key, number, row, at, drawn)
                _pack(drawn, block, packed)

        stretches, sums = zip(*self._walks, strict=True)
        in_threads(walk_stretch, list(zip(stretches, positions_after(positions, sums), strict=True)))
        return packed

    def draw_independently(self, probability: AnyProbability, key: np.uint64) -> NDArray[np.uint8]:
        """Draw each example by its own random number; which are drawn, as packed bits."""
        packed = np.empty(-(-len(self.range) // 8), np.uint8)

        def draw(stretch: range) -> None:
            drawn = np.empty(BLOCK, np.bool_)
            for block in _blocks(stretch):
                p = self._probabilities(probability, block)
                _draw_bernoulli(p, self.range.start + block.start, key, drawn)
                _pack(drawn, block, packed)

        in_threads(draw, self._stretches())
        return packed

    def keep(
        self,
        epoch: int,
        drawn: NDArray[np.uint8],
        key: np.uint64,
        probability: AnyProbability,
        weight: Weight,
        block: int | None = None,
    ) -> int:
        """Keep what is drawn of this part, in the order of training, and with its weights.

        Args:
            epoch: whose plan this is.
            drawn: packed bits of all parts.
            key: of the order.
            probability: by which they were drawn.
            weight: of an example that is drawn.
            block: examples in a block where blocks are dealt out to the ranks.

        Returns:
            How many are drawn of this part.
        """
        if block is None:
            indices, positions = shuffled(drawn, self.dataset_size, key, self.range)
        else:
            indices, positions = by_block(drawn, self.dataset_size, key, self.range, block)
        weights = np.empty(len(indices))

        def weigh(some: slice) -> None:
            scores = np.empty(len(indices[some]), self.scores.dtype)
            _gather(self.scores, indices[some], self.range.start, scores)
            scores = self._known(scores)
            p = _evaluated(probability, scores, self._labels, indices[some] - self.range.start)
            weights[some] = weight(scores, p)

        in_threads(weigh, _slices(len(indices), _WEIGHED))
        self._drawn[epoch] = Drawn(positions, indices, weights)
        self._stand_in, self._walks = None, []
        return len(indices)

    def take(self, epoch: int, drawn: Drawn) -> None:
        """Keep a plan that was made before."""
        self._drawn[epoch] = drawn

    def drawn(self, epoch: int) -> Drawn:
        """What is drawn of this part."""
        return self._drawn[epoch]

    def shard(
        self, epoch: int, rank: int, world_size: int, drawn: int, run_key: np.uint64 | None = None
    ) -> Drawn:
        """What is drawn of this part for one rank, of runs where they have a key; the positions are those in
        its shard."""
        if run_key is not None:
            return run_of_rank(self._drawn[epoch], rank, world_size, drawn, run_key)
        return self._drawn[epoch].shard(rank, world_size, drawn)

    def weight_sums(self, epoch: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Σ w and Σ w² of every block, and the largest w."""
        plan = self._drawn[epoch]
        sums, squares = np.zeros((2, -(-len(self.range) // BLOCK)))
        largest = _add_powers(plan.indices, plan.weights, self.range.start // BLOCK, sums, squares)
        return sums, squares, largest

    def forget(self, epoch: int) -> None:
        """Drop a plan."""
        self._drawn.pop(epoch, None)

    def memory_bytes(self) -> int:
        """What scores, labels and the plans kept take; a plan under way takes a bit an example more."""
        arrays = [self.scores, self._labels, *(array for plan in self._drawn.values() for array in plan)]
        return sum(array.nbytes for array in arrays if array is not None)

    def _scores_in(self, some: slice) -> NDArray[np.floating]:
        return self._known(self.scores[some])

    def _known(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Scores as the plan under way sees them."""
        if self._stand_in is None:
            return scores
        return np.where(np.isnan(scores), scores.dtype.type(self._stand_in), scores)

    def _probabilities(self, probability: AnyProbability, some: slice) -> NDArray[np.float64]:
        return _evaluated(probability, self._scores_in(some), self._labels, some)

    def _stretches(self) -> list[range]:
        """0..n-1 for the threads, one each."""
        return split(len(self.range), min(thread_count(), max(len(self.range) // _STRETCH, 1)))

    @cached_property
    def _classes(self) -> _Classes:
        assert self._labels is not None, "a draw by class where there are no labels"
        return _classes_of(self._labels)

    def _strata(self, stratify: str) -> NDArray[np.int64]:
        """Those that follow each other are alike: of one class, and of probabilities that are near."""
        if stratify == "none":
            return np.zeros(1, np.int64)
        classes = self._classes.labels
        if stratify == "class":
            return classes
        return (classes[:, None] * _SCORE_BINS + np.arange(_SCORE_BINS)).ravel()

    def _stratum(self, p: NDArray[np.float64], block: slice, stratify: str) -> NDArray[np.int64]:
        """The place of each example's stratum among this part's."""
        place = self._classes.place[block].astype(np.int64)
        if stratify == "class":
            return place
        return place * _SCORE_BINS + np.minimum(p * _SCORE_BINS, _SCORE_BINS - 1).astype(np.int64)


def _evaluated(
    probability: AnyProbability,
    scores: NDArray[np.floating],
    labels: NDArray[np.integer] | None,
    some: slice | NDArray[np.integer],
) -> NDArray[np.float64]:
    """The probabilities of some examples of a part, whose labels these are."""
    if isinstance(probability, ProbabilityByClass):
        assert labels is not None, "a rule by class where there are no labels"
        return probability(scores, labels[some])
    return probability(scores)


def _slices(length: int, step: int) -> list[slice]:
    return [slice(begin, min(begin + step, length)) for begin in range(0, max(length, 1), step)]


def _blocks(stretch: range) -> Iterator[slice]:
    for begin in range(stretch.start, stretch.stop, BLOCK):
        yield slice(begin, min(begin + BLOCK, stretch.stop))


def _pack(drawn: NDArray[np.bool_], block: slice, packed: NDArray[np.uint8]) -> None:
    """Write a block's bits to those of its part."""
    of_block = np.packbits(drawn[: block.stop - block.start], bitorder="little")
    packed[block.start // 8 : block.start // 8 + len(of_block)] = of_block


def _has_nan(scores: NDArray[np.floating]) -> bool:
    return bool(np.isnan(np.max(scores, initial=0.0)))


class _Classes(NamedTuple):
    """The classes of a part, ascending, and the place of each example's class among them."""

    labels: NDArray[np.int64]
    place: NDArray[np.integer]


def _classes_of(labels: NDArray[np.integer]) -> _Classes:
    if len(labels) == 0:
        return _Classes(np.empty(0, np.int64), labels)
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest == 0 and highest < 4 * len(labels):
        return _Classes(np.arange(highest + 1), labels)
    found, place = np.unique(labels, return_inverse=True)
    return _Classes(found.astype(np.int64), place)


@njit(cache=True, nogil=True)
def _gather(
    scores: NDArray[np.floating], indices: NDArray[np.integer], first: int, out: NDArray[np.floating]
) -> None:
    """The scores of some examples; a loop of its own, whose reads wait for nothing."""
    for j in range(len(indices)):
        out[j] = scores[indices[j] - first]


@njit(cache=True, nogil=True)
def _add_powers(
    indices: NDArray[np.integer],
    weights: NDArray[np.float64],
    first: int,
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> float:
    """Add w and w² to those of their blocks, of which `first` is the first; returns the largest w."""
    largest = 0.0
    for i in range(len(indices)):
        w = weights[i]
        block = indices[i] // BLOCK - first
        sums[block] += w
        squares[block] += w * w
        largest = max(largest, w)
    return largest


@njit(cache=True, nogil=True)
def _draw_bernoulli(p: NDArray[np.float64], first: int, key: np.uint64, drawn: NDArray[np.bool_]) -> None:
    for i in range(len(p)):
        drawn[i] = (bits(key, first + i) >> np.uint64(11)) * 2.0**-53 < p[i]
