"""The plan of an epoch: which examples, in which order, with which weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.blocks import run_of_rank
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import LocalParts, Parts
from sadp_dist.selection.probabilities import Capping, block_sums, check_scores, in_ranges
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.sampling import draw_parts
from sadp_dist.selection.sharding import Drawn, Shard, check_rank, join, shard


@dataclass(frozen=True)
class PlanFigures:
    """What there is to say about the plan of an epoch, beside the examples and their weights.

    Attributes:
        epoch: counted from 0.
        ratio: pruning ratio r_k.
        subset_size: S = (1 - r_k) N rounded.
        weighted_size: by what a weighted sum over the subset is divided to be a mean; see `Rule.weights`.
        dataset_size: N.
        drawn: n, how many examples are drawn: S for "systematic", around S for "bernoulli".
        capping: how the probabilities came about.
    """

    epoch: int
    ratio: float
    subset_size: int
    weighted_size: int
    dataset_size: int
    drawn: int
    capping: Capping

    def as_shard(self, indices: NDArray[np.integer], weights: NDArray[np.float64]) -> Shard:
        """A rank's examples as its shard."""
        return Shard(
            indices.astype(np.int64, copy=False),
            weights,
            self.weighted_size,
            self.dataset_size,
            self.ratio,
            self.epoch,
            self.drawn,
        )


@dataclass(frozen=True)
class EpochPlan(PlanFigures):
    """The subset of an epoch, whole, before it is split over ranks.

    Attributes:
        indices: (n,) int32, or int64 where N is above 2^31, in the shuffled order.
        weights: (n,) float64, as the rule has them.
        run_key: of the order inside a rank's run, where the ranks have runs of blocks.
    """

    indices: NDArray[np.integer]
    weights: NDArray[np.float64]
    run_key: np.uint64 | None = None

    def figures(self) -> PlanFigures:
        """The plan without its arrays."""
        return PlanFigures(**{field.name: getattr(self, field.name) for field in fields(PlanFigures)})

    def shard(self, rank: int, world_size: int) -> Shard:
        """What `rank` of `world_size` trains on; see `sharding.shard` and `blocks.run_of_rank`."""
        if self.run_key is not None:
            check_rank(rank, world_size)
            whole = Drawn(None, self.indices, self.weights)
            run = run_of_rank(whole, rank, world_size, self.drawn, self.run_key)
            return self.as_shard(*join([run]))
        return self.as_shard(*shard(self.indices, self.weights, rank, world_size))


def plan_epoch(
    scores: ArrayLike, epoch: int, config: PruningConfig, labels: ArrayLike | None = None
) -> EpochPlan:
    """Plan an epoch: a pure function of its arguments, the same in every process.

    Args:
        scores: (N,) float32 or float64, NaN for an example that has no score yet.
        epoch: counted from 0, below `config.run_epochs`.
        config: of the run; its seed is the key of every random number.
        labels: (N,) integers >= 0, the class of each example; needed where the configuration draws by class.

    Raises:
        UsageError: a score that is negative or infinite, an epoch out of range, labels that are missing or do
            not fit.
    """
    G, scale = check_scores(scores, unseen=True)
    if not 0 <= epoch < config.run_epochs:
        raise UsageError(
            f"epoch={epoch} is outside [0, {config.run_epochs - 1}], as {config.epochs_in_words()}"
        )
    parts = LocalParts([Part(G, labels=_check_labels(labels, len(G), config))])
    figures = plan_parts(parts, epoch, config)
    indices, weights = join(parts.each("drawn", epoch))
    plan = EpochPlan(**vars(figures), indices=indices, weights=weights, run_key=config.run_key(epoch))
    return replace(plan, capping=plan.capping.in_units_of(scale))


def plan_parts(parts: Parts, epoch: int, config: PruningConfig) -> PlanFigures:
    """As `plan_epoch`, over the parts of a data set, in rounds of small answers; each part keeps its share.

    The same, bit for bit, for any number of parts. The one thing that is exchanged whole is which examples
    are drawn, a bit for each.
    """
    N = parts.ranges[-1].stop
    rule, ratio = config.rule_of(epoch)
    proper = epoch - config.tracked_epochs
    S = round((1 - ratio) * N)
    if any(parts.each("begin")) and rule.needs_scores and rule.fills_unseen:
        _fill_unseen(parts, config.unseen)
    probability, capping = rule.probability(parts, S, config, proper)
    if capping.expected is not None:
        S = capping.expected
        ratio = 1 - S / max(N, 1)
    draw_epoch = 0 if rule.fixed else epoch
    drawn = draw_parts(parts, probability, config.seed, draw_epoch, config.scheme, config.stratify)
    order_key = stream_key(config.seed, epoch, Stream.SHUFFLE)
    weight = rule.weight(S, N, config, proper)
    n = sum(parts.each("keep", epoch, drawn, order_key, probability, weight, config.shard_block))
    return PlanFigures(epoch, ratio, S, rule.weighted_size(S, N, n), N, n, capping)


def _fill_unseen(parts: Parts, unseen: str) -> None:
    """Let examples without a score take the mean (or the largest) of the scores seen; 1 where none is."""
    sums, counts = zip(*in_ranges(parts, block_sums, math.inf, 0.0), strict=True)
    if sum(counts) == 0:
        stand_in = 1.0
    elif unseen == "max":
        stand_in = max(in_ranges(parts, largest_seen))
    else:
        stand_in = math.fsum(np.concatenate(sums)) / sum(counts)
    parts.each("fill", stand_in)


def largest_seen(scores: NDArray[np.floating]) -> float:
    """The largest score, 0 for none."""
    return float(np.fmax.reduce(scores, initial=0.0))


def weight_figures(parts: Parts, epoch: int) -> tuple[float, float]:
    """Two figures of a plan's weights; both are 0 for an empty plan.

    Returns:
        max(w), by which the gradient of an example is scaled at most; and (Σ w)² / Σ w² (Kish), the number of
        equally weighted examples that would be worth as much.
    """
    sums, sums_of_squares, largest = zip(*parts.each("weight_sums", epoch), strict=True)
    squares = math.fsum(np.concatenate(sums_of_squares))
    return max(largest), math.fsum(np.concatenate(sums)) ** 2 / squares if squares else 0.0


def _check_labels(labels: ArrayLike | None, N: int, config: PruningConfig) -> NDArray[np.integer] | None:
    reason = config.needs_labels
    if reason is None:
        return None
    if labels is None:
        raise UsageError(f"{reason} needs labels, the class of every example; there are none")
    classes = np.asarray(labels)
    if classes.shape != (N,) or classes.dtype.kind not in "iu":
        raise UsageError(f"labels is {classes.dtype} {classes.shape}; it must be integers of shape ({N},)")
    return classes
