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

DELTA = 0.875
"""The share of the epochs in which examples are left out (δ)."""


@register("infobatch")
class InfoBatch(Rule):
    """Qin et al., ICLR 2024: p = 1 - r where the score is below the mean score, and p = 1 elsewhere.

    r is `ratio`, so an epoch leaves out less than that: its subset has as many examples as the probabilities
    add up to. The last (1 - δ) K epochs train on all data. `max_ratio` changes nothing; `min_probability` is
    a floor under 1 - r.

    The weights are the paper's, w = 1 / p: 1 / (1 - r) below the mean and 1 elsewhere. So a step is on
    average N / S times as long as one on full data.
    """

    score = "loss"
    weights = "inverse"

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """r in the first δ K epochs, 0 in the others.

        Raises:
            UsageError: no example below the mean would ever be trained on, so that no weight made up for it.
        """
        if config.ratio == 1 and config.min_probability == 0:
            raise UsageError(
                'ratio=1 with method="infobatch" trains on no example below the mean; use a ratio below 1'
            )
        return FullDataInTheEnd(config.ratio, None, config.epochs)

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig
    ) -> tuple[Probability, Capping]:
        """1 - r below the mean, 1 elsewhere; 1 for all where the schedule leaves nothing out."""
        N = parts.ranges[-1].stop
        sums, _ = zip(*parts.each("compute", block_sums, math.inf, 0.0), strict=True)
        mean = math.fsum(np.concatenate(sums)) / max(N, 1)
        below = sum(parts.each("compute", count_below, mean))
        p = 1.0 if subset_size == N else max(1 - config.ratio, config.min_probability)
        expected = round(N - (1 - p) * below)
        return Below(mean, p), Capping(None, None, capped=N - below, rounds=0, expected=expected)


class FullDataInTheEnd(PruningSchedule):
    """The mean ratio in the first δ K epochs, 0 in the others."""

    def ratio(self, k: int) -> float:
        """For epoch k = 1..K."""
        ratio = super().ratio(k)
        return ratio if k <= DELTA * self.epochs else 0.0


@dataclass(frozen=True)
class Below:
    """`p` where the score is below the mean, else 1."""

    mean: float
    p: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.where(_is_below(scores, self.mean), self.p, 1.0)


def count_below(scores: NDArray[np.floating], mean: float) -> int:
    """How many scores are below the mean."""
    return int(np.count_nonzero(_is_below(scores, mean)))


def _is_below(scores: NDArray[np.floating], mean: float) -> NDArray[np.bool_]:
    # In the scores' own precision, in which the stand-in for unseen examples is the mean, and not below it.
    below: NDArray[np.bool_] = scores < scores.dtype.type(mean)
    return below
