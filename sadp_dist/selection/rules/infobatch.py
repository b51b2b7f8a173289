"""InfoBatch: examples that the network does well on are left out at random, and all come back in the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, block_sums
from sadp_dist.selection.rules import Rule, register
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("infobatch")
class InfoBatch(Rule):
    """Qin et al., ICLR 2024: p = z where the score is below the mean score, and p = 1 elsewhere; w = 1 / p.

    The first epoch has no scores, and the last (1 - δ) K epochs (`delta`) are on all data. The others leave
    out as much more, so that the mean ratio of all K epochs is r: an epoch finds z from the share of its
    examples below the mean. Where that share is too small, none of it is kept (z = 0), and the run's ratio is
    below r. With `keep_probability` z is that, as in the paper, whose own r is 1 - z; `ratio` then has no
    say, and what an epoch leaves out is what comes of it.

    `max_ratio` and `min_probability` change nothing. The weights are the paper's, so that a step is N / S
    times as long, on average, as one on full data.
    """

    score = "loss"
    weights = "inverse"
    has_keep_probability = True

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """The ratio to be met in the epochs from the second to the δ K-th, 0 in the others."""
        return FullDataInTheEnd(config)

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """z below the mean, 1 elsewhere."""
        N = parts.ranges[-1].stop
        sums, _ = zip(*parts.each("compute", block_sums, math.inf, 0.0), strict=True)
        mean = math.fsum(np.concatenate(sums)) / max(N, 1)
        below = sum(parts.each("compute", count_below, mean))
        z, capping = keep_some(below, N, subset_size, config, epoch)
        return Below(mean, z), capping


class FullDataInTheEnd(PruningSchedule):
    """A share of all data in the epochs up to δ K, and all data afterwards; the mean ratio is r.

    The first epoch, which has no scores to choose by, has all data too: the epochs between have the ratio
    r K / (⌊δ K⌋ - 1), or 1 where that is more. With `keep_probability` z they have 1 - z at most.

    Raises:
        UsageError: a ratio of 1: there would be no example below the mean in any epoch but the last ones.
    """

    def __init__(self, config: PruningConfig) -> None:
        z = config.keep_probability
        if config.ratio == 1 and z is None:
            raise UsageError(
                f'ratio=1 with method="{config.method}" trains on no example below the mean; '
                "use a ratio below 1, or keep_probability"
            )
        super().__init__(config.ratio if z is None else 1 - z, None, config.epochs)
        self._pruned = config.pruned_epochs
        if z is None:
            self._first = 2
            self._ratio = min(self.mean_ratio * self.epochs / max(self._pruned - 1, 1), 1.0)
        else:
            self._first, self._ratio = 1, self.mean_ratio

    def ratio(self, k: int) -> float:
        """For epoch k = 1..K."""
        super().ratio(k)  # refuses a k that is none
        return self._ratio if self._first <= k <= self._pruned else 0.0


def keep_some(
    below: int, N: int, subset_size: int, config: PruningConfig, epoch: int
) -> tuple[float, Capping]:
    """z, with which each of the examples below is kept, so that N - (1 - z) below is S; 0 where that is less.

    Args:
        below: how many may be left out.
        N: how many there are in all.
        subset_size: S, how many are to be kept; N in epochs that leave none out.
        config: of the run, whose `keep_probability` is z if it is given.
        epoch: of the run proper, from 0.

    Returns:
        z, and how many are kept: S, or more.
    """
    if config.keep_probability is not None:
        z = config.keep_probability if epoch < config.pruned_epochs else 1.0
    else:
        z = max(1 - (N - subset_size) / max(below, 1), 0.0)
    return z, Capping(None, None, capped=N - below, rounds=0, expected=round(N - (1 - z) * below))


@dataclass(frozen=True)
class Below:
    """`z` where the score is below the mean, else 1."""

    mean: float
    z: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.where(_is_below(scores, self.mean), self.z, 1.0)


def count_below(scores: NDArray[np.floating], mean: float) -> int:
    """How many scores are below the mean."""
    return int(np.count_nonzero(_is_below(scores, mean)))


def _is_below(scores: NDArray[np.floating], mean: float) -> NDArray[np.bool_]:
    # In the scores' own precision, in which the stand-in for unseen examples is the mean, and not below it.
    below: NDArray[np.bool_] = scores < scores.dtype.type(mean)
    return below
