"""The plan of an epoch: which examples, in which order, with which weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.order import shuffled
from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.rules import RULES
from sadp_dist.selection.sampling import drawn_mask, importance_weights
from sadp_dist.selection.sharding import Shard, shard

SCORE_BINS = 32


@dataclass(frozen=True)
class EpochPlan:
    """The subset of an epoch, whole, before it is split over ranks.

    Attributes:
        epoch: counted from 0.
        ratio: pruning ratio r_k.
        subset_size: S = (1 - r_k) N rounded, as in the weights.
        dataset_size: N.
        indices: (n,) int64, in the shuffled order; n = S for "systematic", n varies around S for "bernoulli".
        weights: (n,) float64, w = S / (N p).
        capping: how the probabilities came about.
    """

    epoch: int
    ratio: float
    subset_size: int
    dataset_size: int
    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    capping: Capping

    def shard(self, rank: int, world_size: int) -> Shard:
        """What `rank` of `world_size` trains on; see `sharding.shard`."""
        indices, weights = shard(self.indices, self.weights, rank, world_size)
        drawn = len(self.indices)
        return Shard(
            indices, weights, self.subset_size, self.dataset_size, self.ratio, self.epoch, drawn
        )

    @property
    def largest_weight(self) -> float:
        """max(w), by which the gradient of an example is scaled at most; 0 for an empty plan."""
        return float(self.weights.max(initial=0.0))

    @property
    def effective_sample_size(self) -> float:
        """(Σ w)² / Σ w² (Kish): the number of equally weighted examples that would be worth as much."""
        squares = float(self.weights @ self.weights)
        return float(self.weights.sum()) ** 2 / squares if squares else 0.0


def plan_epoch(
    scores: ArrayLike, epoch: int, config: PruningConfig, labels: ArrayLike | None = None
) -> EpochPlan:
    """Plan an epoch: a pure function of its arguments, the same in every process.

    Args:
        scores: (N,) float32 or float64, NaN for an example that has no score yet.
        epoch: counted from 0, below `config.epochs`.
        config: of the run; its seed is the key of every random number.
        labels: (N,) integers, the class of each example; needed where `config.stratify` names the class.

    Raises:
        UsageError: scores that are negative or infinite, an epoch out of range, labels missing or of another length.
    """
    G = np.asarray(scores)
    if not 0 <= epoch < config.epochs:
        raise UsageError(f"epoch={epoch} is outside [0, {config.epochs - 1}], the epochs of this configuration")
    N = len(G)
    ratio = config.schedule.ratio(epoch + 1)
    S = round((1 - ratio) * N)
    rule = RULES[config.method]
    if rule.needs_scores:
        G = fill_unseen(G, config.unseen)
    p, capping = rule.probabilities(G, S, config)
    drawn = drawn_mask(p, config.seed, epoch, config.scheme, _strata(p, labels, config.stratify))
    indices = shuffled(drawn, stream_key(config.seed, epoch, Stream.SHUFFLE))
    return EpochPlan(epoch, ratio, S, N, indices, importance_weights(p, indices, S), capping)


def fill_unseen(scores: NDArray[np.floating], unseen: str = "mean") -> NDArray[np.floating]:
    """Scores in which every NaN is the mean (or the max) of the others; all equal where there are no others."""
    missing = np.isnan(scores)
    if not missing.any():
        return scores
    seen = scores[~missing]
    if len(seen) == 0:
        return np.ones_like(scores)
    stand_in = seen.max() if unseen == "max" else seen.mean(dtype=np.float64)
    return np.where(missing, scores.dtype.type(stand_in), scores)


def _strata(p: NDArray[np.float64], labels: ArrayLike | None, stratify: str) -> NDArray[np.int64] | None:
    if stratify == "none":
        return None
    if labels is None:
        raise UsageError(f'stratify="{stratify}" needs labels, the class of every example; none were given')
    classes = np.asarray(labels)
    if classes.shape != p.shape:
        raise UsageError(f"labels has shape {classes.shape}; it must be that of the scores, {p.shape}")
    if stratify == "class":
        return classes
    return classes.astype(np.int64) * SCORE_BINS + np.minimum(p * SCORE_BINS, SCORE_BINS - 1).astype(np.int64)
