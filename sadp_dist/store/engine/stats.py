"""Figures about a run's scores and its current plan, and rankings by score."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.table import ScoreTable

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BINS = 20
RANKINGS = ("score", "change")
_INFINITY = 0x7F800000  # as an integer: every finite float32 >= 0 is below it
_RECENT = 1024  # epochs


@dataclass(frozen=True)
class Histogram:
    """How many positive scores lie between which bounds; the bounds are evenly spaced in the logarithm.

    Attributes:
        zeros: scores that are 0, which no logarithmic bin can hold.
        edges: bounds of the bins, one more than counts; empty when no score is positive.
        counts: scores in each bin.
    """

    zeros: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"zeros": self.zeros, "edges": list(self.edges), "counts": list(self.counts)}


@dataclass(frozen=True)
class StoreStats:
    """A run at one moment. What nothing is known about yet is None.

    The last six fields are about a store in another process.

    Attributes:
        run: name of the run.
        dataset_size: N.
        method: the pruning rule.
        epochs: K of the schedule.
        seen: examples that have a score.
        unseen: those that have none.
        epoch: of the latest plan, from 0; the plan's figures are the next fourteen.
        ratio: r_k.
        subset_size: S_k.
        drawn: examples drawn; under "bernoulli" not exactly S_k.
        capped: examples with probability 1 because of their score; 0 in an epoch on all data.
        floor: smallest probability allowed, min(β, S/N); None where the method has none.
        floor_in_force: whether β is above S/N, so that every example has the same probability.
        gamma: γ, which lifts the smallest probability to the floor; None where the method has none.
        largest_weight: max w_i of those drawn.
        effective_sample_size: (Σ w)² / Σ w² of those drawn.
        weight_exponent: θ, the power of the weights.
        placed_share: share of the subset that the scores place; None where the method has no floor.
        noise_ratio: η, how noisy a step of the epoch before was beside one drawn uniformly, by the scores
            that it gave; None where they cannot tell. See `selection.score_quality`.
        rank_correlation: Spearman's, of the scores that the epoch before gave with those before it.
        score_quantiles: share of the scores -> the score below which they lie.
        score_histogram: of the scores.
        staleness_mean: mean number of epochs since a seen example was scored.
        staleness_quantiles: share of the seen examples -> epochs.
        pushes: pushes stored.
        pushed_scores: scores in them.
        rejected_pushes: pushes refused.
        memory_bytes: host memory that scores, labels and plans take.
        data: fingerprints of the data set by kind, see `sadp_dist.data.fingerprints`; empty if not known.
        bytes_received: bytes of scores that came from other processes.
        bad_frames: reason -> batches of scores that were skipped, since they could not be read.
        waiting_ranks: ranks that have not asked yet for a plan that others have asked for.
        rank_epochs: by rank of the job that asks now, the epoch that it last asked for, -1 before the first.
        planner: which process makes the plans; None for the one that answers.
        last_snapshot: when the scores were last saved, in seconds since 1970.
    """

    run: str
    dataset_size: int
    method: str
    epochs: int
    seen: int
    unseen: int
    epoch: int | None
    ratio: float | None
    subset_size: int | None
    drawn: int | None
    capped: int | None
    floor: float | None
    floor_in_force: bool | None
    gamma: float | None
    largest_weight: float | None
    effective_sample_size: float | None
    weight_exponent: float | None
    placed_share: float | None
    noise_ratio: float | None
    rank_correlation: float | None
    score_quantiles: dict[str, float] | None
    score_histogram: Histogram
    staleness_mean: float | None
    staleness_quantiles: dict[str, float] | None
    pushes: int
    pushed_scores: int
    rejected_pushes: int
    memory_bytes: int
    data: dict[str, str] = field(default_factory=dict)
    bytes_received: int = 0
    bad_frames: dict[str, int] = field(default_factory=dict)
    waiting_ranks: list[int] = field(default_factory=list)
    rank_epochs: list[int] = field(default_factory=list)
    planner: str | None = None
    last_snapshot: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: dicts, lists, strings, finite numbers, None."""
        return {**asdict(self), "score_histogram": self.score_histogram.to_dict()}


def score_figures(scores: NDArray[np.float32]) -> tuple[dict[str, float] | None, Histogram]:
    """The quantiles of the scores, each one that occurs (None without scores), and their histogram; exact.

    By counting instead of sorting: floats >= 0 read as unsigned integers keep their order. The first pass
    counts by the upper 16 bits, the second one by the lower 16 where a quantile lies, and between the bounds
    of the histogram's bins.

    Args:
        scores: (N,) NaN where there is none.
    """
    upper, least, largest = count_by_upper_bits(scores)
    up_to = np.cumsum(upper)
    n = int(up_to[-1])
    if n == 0:
        return None, Histogram(0, (), ())
    edges = _edges(least, largest)
    places = np.array([max(math.ceil(share * n), 1) for share in QUANTILES])
    groups, group_of = np.unique(np.searchsorted(up_to, places), return_inverse=True)
    lower, (zeros, *bins) = count_within(scores, groups, _first_scores_from(edges[:-1]))
    inside = places - (up_to - upper)[groups][group_of]
    low = [np.searchsorted(np.cumsum(lower[g]), place) for g, place in zip(group_of, inside, strict=True)]
    values = ((groups[group_of] << 16) + low).astype(np.uint32).view(np.float32)
    histogram = Histogram(int(zeros), tuple(edges.tolist()), tuple(int(count) for count in bins))
    return _by_share(values), histogram


def staleness_figures(
    score_epochs: NDArray[np.int32], epoch: int | None
) -> tuple[float | None, dict[str, float] | None]:
    """Mean and quantiles of the number of epochs since the examples were scored; None without scores.

    Args:
        score_epochs: (N,) the epoch of each score, -1 where there is none.
        epoch: of the latest plan. That is now, unless there are scores of a later one.
    """
    counts = count_epochs(score_epochs)
    if not counts:
        return None, None
    n, scored = sum(counts.values()), np.array(sorted(counts, reverse=True))
    staleness = max(scored[0], -1 if epoch is None else epoch) - scored
    up_to = np.cumsum([counts[int(e)] for e in scored])
    mean = float(staleness @ np.diff(up_to, prepend=0)) / n
    return mean, _by_share(staleness[np.searchsorted(up_to, [max(math.ceil(s * n), 1) for s in QUANTILES])])


def top(
    table: ScoreTable, k: int, lowest: bool, by: str = "score"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the first k examples in an order of `RANKINGS`; see `Store.top`.

    A change is a score less the one of the epoch scored before.
    """
    values = table.scores if by == "score" else table.scores - table.scores_before
    indices = np.flatnonzero(_may_be_best(np.abs(values), k, lowest))
    values = values[indices]
    keys = np.abs(values) if lowest else -np.abs(values)
    if 0 < k < len(keys):
        candidates = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        indices, values, keys = indices[candidates], values[candidates], keys[candidates]
    order = np.argsort(keys, kind="stable")[:k]
    return indices[order], values[order]


def _may_be_best(scores: NDArray[np.float32], k: int, lowest: bool) -> NDArray[np.bool_]:
    """Which scores may be among the k highest (or lowest), (n,) bool: little more than k, as a rule."""
    up_to = np.cumsum(count_by_upper_bits(scores)[0])
    if k >= up_to[-1]:
        return ~np.isnan(scores)
    if lowest:
        beyond = np.uint32((np.searchsorted(up_to, k) + 1) << 16)
        return scores < beyond.view(np.float32)
    first = np.uint32(np.searchsorted(up_to, up_to[-1] - k, side="right") << 16)
    return scores >= first.view(np.float32)


def count_by_upper_bits(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], float, float]:
    """How many scores have which upper 16 bits, the smallest positive score and the largest.

    Returns:
        (2^16,) counts; infinity and 0 where no score is positive.
    """
    counts = np.zeros(1 << 16, np.int64)
    extremes = np.array([_INFINITY, 0], np.uint32)
    _count_upper(scores.view(np.uint32), counts, extremes)
    least, largest = extremes.view(np.float32)
    return counts, float(least), float(largest)


def count_within(
    scores: NDArray[np.float32],
    groups: NDArray[np.int64],
    bounds: NDArray[np.uint32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many scores of some groups have which lower 16 bits, and how many lie between which bounds.

    Args:
        scores: (n,).
        groups: (g,) upper 16 bits.
        bounds: (b,) scores as integers, ascending.

    Returns:
        (g, 2^16), and (b + 1,): below the first bound, from the first to below the second, and so on.
    """
    group_of = np.full(1 << 16, -1, np.int8)
    group_of[groups] = np.arange(len(groups))
    at_or_below = np.searchsorted(bounds, np.arange(1 << 16, dtype=np.uint32) << 16, side="right")
    lower = np.zeros((len(groups), 1 << 16), np.int64)
    between = np.zeros(len(bounds) + 1, np.int64)
    _count_within(scores.view(np.uint32), group_of, at_or_below.astype(np.int8), bounds, lower, between)
    return lower, between


def count_epochs(score_epochs: NDArray[np.int32]) -> dict[int, int]:
    """How many scores are of which epoch."""
    latest = int(score_epochs.max(initial=-1))
    recent = np.zeros((4, _RECENT), np.int64)
    if _count_recent(score_epochs, latest, recent):
        old = score_epochs[(score_epochs >= 0) & (score_epochs <= latest - _RECENT)]
        epochs, counts = (found.tolist() for found in np.unique(old, return_counts=True))
    else:
        epochs, counts = [], []
    epochs += [latest - age for age in range(_RECENT)]
    counts += recent.sum(axis=0).tolist()
    return {epoch: count for epoch, count in zip(epochs, counts, strict=True) if count}


def _by_share(values: NDArray[Any]) -> dict[str, float]:
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, values, strict=True)}


def _edges(least: float, largest: float) -> NDArray[np.float64]:
    """Bounds of the histogram's bins, for positive scores from `least` to `largest`."""
    if largest == 0:
        return np.empty(0)
    if least == largest:
        return np.array([least, largest])
    return np.geomspace(least, largest, BINS + 1)


def _first_scores_from(bounds: NDArray[np.float64]) -> NDArray[np.uint32]:
    """The smallest float32 that is not below each bound, as an integer."""
    rounded = bounds.astype(np.float32)
    return rounded.view(np.uint32) + (rounded < bounds)


@numba.njit(cache=True, nogil=True)
def _count_upper(scores: NDArray[np.uint32], counts: NDArray[np.int64], extremes: NDArray[np.uint32]) -> None:
    least, largest = extremes
    for score in scores:
        if score < _INFINITY:  # NaN, where there is none, is above
            counts[score >> 16] += 1
            least = min(least, score if score else least)
            largest = max(largest, score)
    extremes[0], extremes[1] = least, largest


@numba.njit(cache=True, nogil=True)
def _count_within(
    scores: NDArray[np.uint32],
    group_of: NDArray[np.int8],
    at_or_below: NDArray[np.int8],
    bounds: NDArray[np.uint32],
    lower: NDArray[np.int64],
    between: NDArray[np.int64],
) -> None:
    for score in scores:
        if score < _INFINITY:
            upper = score >> 16
            if group_of[upper] >= 0:
                lower[group_of[upper], score & 0xFFFF] += 1
            place = at_or_below[upper]
            while place < len(bounds) and bounds[place] <= score:
                place += 1
            between[place] += 1


@numba.njit(cache=True, nogil=True)
def _count_recent(score_epochs: NDArray[np.int32], latest: int, recent: NDArray[np.int64]) -> bool:
    """Count by age; returns whether there are older ones."""
    older = False
    for i in range(len(score_epochs)):
        age = latest - score_epochs[i]
        if score_epochs[i] >= 0:
            if age < recent.shape[1]:
                recent[i & 3, age] += 1  # in four rows, so that no count waits for the last
            else:
                older = True
    return older
