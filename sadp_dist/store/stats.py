"""Figures about a run's scores and its current plan."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BINS = 20


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


@dataclass(frozen=True)
class StoreStats:
    """A run at one moment. What nothing is known about yet is None.

    Attributes:
        run: name of the run.
        dataset_size: N.
        method: the pruning rule.
        seen: examples that have a score.
        unseen: those that have none.
        epoch: of the latest plan, from 0; the plan's figures are the next ten.
        ratio: r_k.
        subset_size: S_k.
        drawn: examples drawn; under "bernoulli" not exactly S_k.
        capped: examples with probability 1.
        floor: smallest probability allowed, min(β, S/N).
        floor_in_force: whether β is above S/N, so that every example has the same probability.
        gamma: γ, which lifts the smallest probability to the floor.
        largest_weight: max w_i of those drawn.
        effective_sample_size: (Σ w)² / Σ w² of those drawn.
        score_quantiles: share of the scores -> the score below which they lie.
        score_histogram: of the scores.
        staleness_mean: mean number of epochs since a seen example was scored.
        staleness_quantiles: share of the seen examples -> epochs.
        pushes: pushes stored.
        pushed_scores: scores in them.
        rejected_pushes: pushes refused.
        memory_bytes: host memory that scores, labels and plans take.
        shards: ranges of examples that the scores are kept in.
        bytes_received: bytes of scores that came from other processes.
        rejected_frames: reason -> batches of scores that were skipped, since they could not be read.
        waiting_ranks: ranks that have asked for a plan and wait for the others.
        planner: which process makes the plans; None for the one that answers.
        last_snapshot: when the scores were last saved, in seconds since 1970.
    """

    run: str
    dataset_size: int
    method: str
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
    score_quantiles: dict[str, float] | None
    score_histogram: Histogram
    staleness_mean: float | None
    staleness_quantiles: dict[str, float] | None
    pushes: int
    pushed_scores: int
    rejected_pushes: int
    memory_bytes: int
    shards: int
    bytes_received: int
    rejected_frames: dict[str, int]
    waiting_ranks: list[int]
    planner: str | None
    last_snapshot: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: dicts, lists, strings, finite numbers, None."""
        figures = asdict(self)
        figures["score_histogram"] = {
            "zeros": self.score_histogram.zeros,
            "edges": list(self.score_histogram.edges),
            "counts": list(self.score_histogram.counts),
        }
        return figures


def quantiles(ordered: NDArray[Any]) -> dict[str, float] | None:
    """Values at `QUANTILES`, each one that occurs; None for no values.

    Args:
        ordered: (n,) numbers, ascending.
    """
    n = len(ordered)
    if n == 0:
        return None
    return {f"{share:g}": float(ordered[max(math.ceil(share * n), 1) - 1]) for share in QUANTILES}


def histogram(ordered: NDArray[np.float32]) -> Histogram:
    """The logarithmic histogram of scores, (n,), ascending, finite and >= 0."""
    zeros = int(np.searchsorted(ordered, 0, side="right"))
    positive = ordered[zeros:].astype(np.float64)
    if len(positive) == 0:
        return Histogram(zeros, (), ())
    lowest, highest = float(positive[0]), float(positive[-1])
    if lowest == highest:
        return Histogram(zeros, (lowest, highest), (len(positive),))
    edges = np.geomspace(lowest, highest, BINS + 1)
    below = np.searchsorted(positive, edges)
    below[-1] = len(positive)  # the last bin holds its upper bound too
    return Histogram(zeros, tuple(edges.tolist()), tuple(np.diff(below).tolist()))
