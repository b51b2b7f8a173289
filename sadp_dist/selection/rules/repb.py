"""RePB: losses are compared where they are comparable, and weights make up for what was left out so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, in_ranges
from sadp_dist.selection.rules import Rule, register
from sadp_dist.selection.rules.infobatch import FullDataInTheEnd, keep_some
from sadp_dist.selection.schedule import PruningSchedule
from sadp_dist.selection.weighting import Weight

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig

KEPT = 0.5
"""What a kept score has beside the count where the loss was not below its window's mean."""


@register("repb")
class RePB(Rule):
    """Zhou et al., ICLR 2026, "Inconsistency Biases in Dynamic Data Pruning".

    Training compares each loss with the mean of its window, the latest few batches of its rank
    (`scoring.window`), which nearly the same network has seen, and pushes what came of it: 1, or 0 below the
    mean. The
    next epoch keeps all that were not below, and of the others each with the same probability z (uniform
    resampling). An example that was trained on in n of the k epochs, this one among both, has the weight
    k / n (cumulative temporal rescaling), so that over the epochs all examples weigh the same.

    A kept score is n and, where the example was not below the mean when it was last trained on, ½ beside it.
    z is found as InfoBatch's, from `ratio` or `keep_probability`, and as there the last (1 - δ) K epochs have
    all data.

    This is after the paper's abstract, which leaves open how large z is, whether the last epochs have all
    data and whether k / n counts this epoch.
    """

    score = "window-loss"
    only_its_score = True
    weights = "inverse"
    fills_unseen = False
    has_keep_probability = True

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """As InfoBatch's."""
        return FullDataInTheEnd(config)

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """z where the loss was below its window's mean, 1 elsewhere."""
        below = sum(in_ranges(parts, count_below_window))
        z, capping = keep_some(below, parts.ranges[-1].stop, subset_size, config, epoch)
        return BelowWindow(z), capping

    def weight(self, subset_size: int, dataset_size: int, config: PruningConfig, epoch: int) -> Weight:
        """k / n."""
        return EpochsPerTimesDrawn(epoch + 1)

    def combine(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int, config: PruningConfig
    ) -> NDArray[np.floating]:
        """One time more, and whether the loss was below the mean this time."""
        return times_drawn(before) + 1 + np.where(new > 0, KEPT, 0)


def times_drawn(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """In how many epochs an example was trained on, 0 without a score."""
    times: NDArray[np.floating] = np.floor(np.nan_to_num(scores))
    return times


def count_below_window(scores: NDArray[np.floating]) -> int:
    """How many were below the mean of their window when they were last trained on."""
    return int(np.count_nonzero(_is_below(scores)))


@dataclass(frozen=True)
class BelowWindow:
    """`z` for those that were below the mean of their window, else 1."""

    z: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.where(_is_below(scores), self.z, 1.0)


@dataclass(frozen=True)
class EpochsPerTimesDrawn:
    """w = k / n, where the epoch under way is one of both."""

    k: int

    def __call__(self, scores: NDArray[np.floating], p: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.k / (times_drawn(scores).astype(np.float64) + 1)


def _is_below(scores: NDArray[np.floating]) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = scores == np.floor(scores)  # not so of NaN
    return below
