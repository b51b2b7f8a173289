"""The plan of an epoch: which examples, in which order, with which weights; and its shards, one a rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.passes import Extremes, extremes, in_threads, slices
from sadp_dist.selection.probabilities import check_scores
from sadp_dist.selection.random import Stream, by_block, shuffled, stream_key
from sadp_dist.selection.rule import Rule
from sadp_dist.selection.table import ScoreTable
from sadp_dist.selection.weight_exponent import powered

MAX_WORLD_SIZE = 2**16
"""Largest number of ranks. It bounds the memory that messages from outside can make a store use."""
_COPY = 2**20  # examples of a shard that a thread copies in one go


@dataclass(frozen=True)
class Shard:
    """What one rank trains on in one epoch.

    Attributes:
        indices: (n,) int64, in the order of training; every rank of the epoch has the same n.
        weights: (n,) float64, 0 where the example is a repeat that pads the shard.
        subset_size: S in the weights: Σ w x / S over all shards is the rule's mean of x, for most rules an
            estimate of that over the dataset (`Rule.weights`); with weights 1 / p it is N.
        dataset_size: N.
        ratio: pruning ratio of the epoch.
        epoch: counted from 0.
        drawn: how many examples all shards have together, padding not counted.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    subset_size: int
    dataset_size: int
    ratio: float
    epoch: int
    drawn: int


@dataclass(frozen=True)
class ProbabilityReport:
    """What is shown about the probabilities of an epoch.

    Attributes:
        capped: number of examples with p = 1 because of their score; 0 in an epoch on all data.
        gamma: γ >= 0, in the unit of the scores, which lifts the smallest p to the floor; None where the rule
            has none.
        floor_in_force: the floor is above S / N, which makes every p = S / N.
        placed_share: share of the subset that the scores place; the rest is even, as every p is at least as
            large as the smallest. None where the rule has no floor.
    """

    capped: int
    gamma: float | None = None
    floor_in_force: bool = False
    placed_share: float | None = None

    @classmethod
    def of(cls, rule: Rule, table: ScoreTable, p: NDArray[np.float64], found: Extremes) -> ProbabilityReport:
        """Return the report on p, of which these are the extremes."""
        capped = found.ones if rule.needs_scores and found.ones < len(p) else 0
        floor = rule.floor(round(found.total), len(p))
        in_force = floor is not None and rule.config.floor == "absolute" and 0 < found.largest < floor
        even = len(p) * found.smallest / found.total if found.total > 0 else 1.0
        placed = None if floor is None else max(1 - even, 0.0)
        return cls(capped, rule.gamma(table, p, found), in_force, placed)


@dataclass(frozen=True)
class EpochPlan:
    """The subset of an epoch, whole, before it is split over ranks.

    Attributes:
        epoch: counted from 0.
        ratio: pruning ratio r_k.
        subset_size: S, Σ p rounded.
        weighted_size: by what a weighted sum over the subset is divided to be a mean; see `Rule.weighting`.
        dataset_size: N.
        report: on the probabilities.
        indices: (n,) int32, or int64 where N is above 2^31, in the shuffled order.
        weights: (n,) float64, as the rule has them, to the power of `weight_exponent`.
        weight_exponent: θ.
        whole_weights: (n,) float32, the weights before; None where θ = 1.
        run_key: of the order inside a rank's run, where the ranks have runs of blocks.
    """

    epoch: int
    ratio: float
    subset_size: int
    weighted_size: int
    dataset_size: int
    report: ProbabilityReport
    indices: NDArray[np.integer]
    weights: NDArray[np.float64]
    weight_exponent: float = 1.0
    whole_weights: NDArray[np.float32] | None = None
    run_key: np.uint64 | None = None

    @property
    def importance(self) -> NDArray[np.floating]:
        """The weights with θ = 1, (n,)."""
        return self.weights if self.whole_weights is None else self.whole_weights

    def copy(self) -> EpochPlan:
        """Return the same with arrays of its own."""
        whole = None if self.whole_weights is None else self.whole_weights.copy()
        return replace(self, indices=self.indices.copy(), weights=self.weights.copy(), whole_weights=whole)

    def memory_bytes(self) -> int:
        """Return the bytes of the plan's arrays."""
        whole = 0 if self.whole_weights is None else self.whole_weights.nbytes
        return self.indices.nbytes + self.weights.nbytes + whole

    @property
    def drawn(self) -> int:
        """How many examples are drawn: S for "systematic", around S for "bernoulli"."""
        return len(self.indices)

    def shard(self, rank: int, world_size: int) -> Shard:
        """Return what `rank` of `world_size` trains on: every `world_size`-th example, or a run of blocks.

        Raises:
            UsageError: rank or world_size out of range.
        """
        if self.run_key is None:
            indices, weights = shard(self.indices, self.weights, rank, world_size)
        else:
            indices, weights = _run_of_rank(self.indices, self.weights, rank, world_size, self.run_key)
        return Shard(
            indices, weights, self.weighted_size, self.dataset_size, self.ratio, self.epoch, self.drawn
        )


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
    table, scale = _table_of(scores, epoch, config, labels)
    plan = plan_table(table, epoch, config)
    gamma = plan.report.gamma
    if scale == 1 or gamma is None:
        return plan
    return replace(plan, report=replace(plan.report, gamma=gamma / scale))


def plan_table(
    table: ScoreTable, epoch: int, config: PruningConfig, last: EpochPlan | None = None
) -> EpochPlan:
    """As `plan_epoch`, of the table of a run. A rule that keeps state of examples changes it in the table.

    Args:
        table: of the run.
        epoch: likewise.
        config: likewise.
        last: the plan made before this one; None for the first.
    """
    N = len(table)
    config.rule.begin(table, last, epoch)
    rule, seen, p, found = _choose(table, epoch, config)
    S, ratio = round(found.total), rule.ratio(epoch - config.tracked_epochs * (rule is config.rule))
    if round((1 - ratio) * N) != S:  # the rule decides by the scores how many examples it keeps
        ratio = 1 - S / max(N, 1)
    report = ProbabilityReport.of(rule, seen, p, found)
    drawn = rule.draw(seen, p, epoch)
    order_key = stream_key(config.seed, epoch, Stream.SHUFFLE)
    if config.shard_block is None:
        indices = shuffled(drawn, N, order_key)
    else:
        indices = by_block(drawn, N, order_key, config.shard_block)
    weights = rule.weights(seen, indices, p, S, epoch - config.tracked_epochs)
    θ, whole = rule.weight_exponent(seen), None
    if θ != 1:
        whole, weights = weights.astype(np.float32), powered(weights, θ)
    size = rule.weighted_size(S, N, len(indices))
    return EpochPlan(epoch, ratio, S, size, N, report, indices, weights, θ, whole, config.run_key(epoch))


def epoch_probabilities(
    scores: ArrayLike, epoch: int, config: PruningConfig, labels: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the probabilities with which an epoch's subset is drawn, (N,); arguments as of `plan_epoch`."""
    table, _ = _table_of(scores, epoch, config, labels)
    return _choose(table, epoch, config)[2]


def known_and_probabilities(
    table: ScoreTable, epoch: int, config: PruningConfig, last: EpochPlan | None
) -> tuple[ScoreTable, NDArray[np.float64]]:
    """Return the table as the rule sees it, and the probabilities of an epoch's draw, (N,).

    Arguments as of `plan_table`. A rule takes the scores since the last plan into its state, unless the last
    plan is that of the epoch.
    """
    if last is None or last.epoch < epoch:
        config.rule.begin(table, last, epoch)
    return _choose(table, epoch, config)[1:3]


def _choose(
    table: ScoreTable, epoch: int, config: PruningConfig
) -> tuple[Rule, ScoreTable, NDArray[np.float64], Extremes]:
    """The epoch's rule, the table as it sees it, its probabilities and their extremes."""
    rule, k = config.rule_of(epoch)
    S = round((1 - rule.ratio(k)) * len(table))
    seen = rule.known(table)
    p = rule.probabilities(seen, S, k)
    return rule, seen, p, extremes(p)


def _table_of(
    scores: ArrayLike, epoch: int, config: PruningConfig, labels: ArrayLike | None
) -> tuple[ScoreTable, float]:
    G, scale = check_scores(scores, unseen=True)
    if not 0 <= epoch < config.run_epochs:
        raise UsageError(
            f"epoch={epoch} is outside [0, {config.run_epochs - 1}], as {config.epochs_in_words()}"
        )
    return ScoreTable.of_scores(G, _check_labels(labels, len(G), config), config.rule.arrays), scale


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


def shard(
    order: NDArray[np.integer], weights: NDArray[np.float64], rank: int, world_size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions rank, rank + W, rank + 2W, ... of the epoch's order, padded so that all have as many.

    Where W does not divide the n examples, the last positions wrap around to the first examples, with
    weight 0. Padding is never an example that its rank has already; with n = 0 every shard is empty.

    Args:
        order: (n,) integers, the subset in its shuffled order.
        weights: (n,) float64, theirs.
        rank: 0 <= rank < world_size.
        world_size: W >= 1.

    Returns:
        Indices int64 and weights float64, ceil(n / W) each.

    Raises:
        UsageError: rank or world_size out of range.
    """
    check_rank(rank, world_size)
    n = len(order)
    length = -(-n // world_size)
    indices, shard_weights = np.empty(length, np.int64), np.empty(length)

    def copy(some: slice) -> None:
        every = slice(rank + some.start * world_size, rank + some.stop * world_size, world_size)
        for whole, mine in ((order, indices), (weights, shard_weights)):
            taken = whole[every]
            mine[some.start : some.start + len(taken)] = taken

    in_threads(copy, slices(length, _COPY))
    last = rank + (length - 1) * world_size
    if last >= n > 0:
        indices[-1], shard_weights[-1] = order[last % n], 0.0
    return indices, shard_weights


def _run_of_rank(
    order: NDArray[np.integer], weights: NDArray[np.float64], rank: int, world_size: int, key: np.uint64
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return one rank's run of an epoch's order, shuffled; arguments as of `shard`.

    The order is cut into one run for each rank, as long as each other but for one example. A shorter one is
    padded at its end with the example before it, with weight 0; that example lies beside its own.
    """
    check_rank(rank, world_size)
    least, longer = divmod(len(order), world_size)
    begin = rank * least + min(rank, longer)
    length = least + (rank < longer)
    everyone = np.full(-(-length // 8), 255, np.uint8)
    place = shuffled(everyone, length, key)
    padded = 0 < longer <= rank and begin > 0
    indices, shard_weights = np.empty(length + padded, np.int64), np.empty(length + padded)
    indices[place], shard_weights[place] = order[begin : begin + length], weights[begin : begin + length]
    if padded:
        indices[-1], shard_weights[-1] = order[begin - 1], 0.0
    return indices, shard_weights


def check_rank(rank: int, world_size: int) -> tuple[int, int]:
    """Return a rank and its world size as Python ints.

    Raises:
        UsageError: world_size is not an integer in [1, MAX_WORLD_SIZE], or rank not one in
            [0, world_size - 1].
    """
    if not is_integer(world_size) or not 1 <= world_size <= MAX_WORLD_SIZE:
        raise UsageError(f"world_size={world_size!r} is not an integer in 1..{MAX_WORLD_SIZE}")
    if not is_integer(rank) or not 0 <= rank < world_size:
        raise UsageError(
            f"rank={rank!r} is not an integer in 0..{world_size - 1}, as world_size={world_size} asks"
        )
    return int(rank), int(world_size)


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer of Python or NumPy; True and False are not."""
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
