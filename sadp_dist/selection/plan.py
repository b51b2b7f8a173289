"""The plan of an epoch: which examples, in which order, with which weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.order import shuffled
from sadp_dist.selection.probabilities import Capping, refuse_scores
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.rules import RULES
from sadp_dist.selection.sampling import drawn_mask, importance_weights
from sadp_dist.selection.sharding import Shard, shard

_SCORE_BINS = 32  # of the probability, inside a class


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
        return Shard(
            indices, weights, self.subset_size, self.dataset_size, self.ratio, self.epoch, self.drawn
        )

    @property
    def drawn(self) -> int:
        """n, how many examples are drawn."""
        return len(self.indices)

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
        labels: (N,) integers >= 0, the class of each example; needed where `config.stratify` names the class.

    Raises:
        UsageError: a score that is negative or infinite, an epoch out of range, labels that are missing or do
            not fit.
    """
    G = np.asarray(scores)
    if G.ndim != 1:
        raise UsageError(f"scores has shape {G.shape}; it must be (N,)")
    if not 0 <= epoch < config.epochs:
        raise UsageError(f"epoch={epoch} is outside [0, {config.epochs - 1}], as epochs={config.epochs}")
    N = len(G)
    ratio = config.schedule.ratio(epoch + 1)
    S = round((1 - ratio) * N)
    rule = RULES[config.method]
    p, capping = rule.probabilities(fill_unseen(G, config.unseen) if rule.needs_scores else G, S, config)
    drawn = drawn_mask(p, config.seed, epoch, config.scheme, _strata(p, labels, config.stratify))
    indices = shuffled(drawn, stream_key(config.seed, epoch, Stream.SHUFFLE))
    return EpochPlan(epoch, ratio, S, N, indices, importance_weights(p, indices, S), capping)


def fill_unseen(scores: NDArray[np.floating], unseen: str = "mean") -> NDArray[np.floating]:
    """Scores in which every NaN is the mean (or the max) of the others, or 1 where there are no others."""
    if not np.isnan(np.max(scores, initial=0.0)):
        return scores
    refuse_scores(scores, np.isinf(scores) | (scores < 0))
    missing = np.isnan(scores)
    seen = scores[~missing]
    if len(seen) == 0:
        return np.ones_like(scores)
    stand_in = seen.max() if unseen == "max" else seen.mean(dtype=np.float64)
    return np.where(missing, scores.dtype.type(stand_in), scores)


def _strata(p: NDArray[np.float64], labels: ArrayLike | None, stratify: str) -> NDArray[np.integer] | None:
    """Strata that follow each other are alike: of one class, and of probabilities that are near."""
    if stratify == "none":
        return None
    if labels is None:
        raise UsageError(f'stratify="{stratify}" needs labels, the class of every example; there are none')
    classes = np.asarray(labels)
    if classes.shape != p.shape or classes.dtype.kind not in "iu":
        raise UsageError(f"labels is {classes.dtype} {classes.shape}; it must be integers of shape {p.shape}")
    if stratify == "class":
        return classes
    score_bins = np.minimum(p * _SCORE_BINS, _SCORE_BINS - 1).astype(np.int64)
    return classes.astype(np.int64) * _SCORE_BINS + score_bins
