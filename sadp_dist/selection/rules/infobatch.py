"""InfoBatch: examples that the network does well on are left out at random, and all come back in the end."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sadp_dist.errors import UsageError
from sadp_dist.sections import OnlyWith
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.passes import block_sums
from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.table import ScoreTable


class KeepConfig(PruningConfig):
    """Options of rules that keep some examples with one probability, and all data in the last epochs.

    Attributes:
        keep_probability: z, with which an example that may be left out is kept, in (0, 1]; `ratio` is then
            not used. None: the z that meets `ratio`.
        delta: the share δ of the epochs in which examples are left out by their scores, in [0, 1].
    """

    keep_probability: Annotated[float, Field(gt=0, le=1)] | None = None
    delta: Annotated[float, Field(ge=0, le=1)] = 0.875

    @property
    def pruned_epochs(self) -> int:
        """The epochs k <= δ K, after which no scores are looked at."""
        return math.floor(self.delta * self.epochs)


class InfoBatchConfig(KeepConfig):
    """Options of InfoBatch and its relatives.

    Attributes:
        keep_probability: z, with which an example below the threshold is kept, in (0, 1]; `ratio` is then
            not used. None: the z that meets `ratio`.
        least_kept: below which no z is that `ratio` leads to, in [0, 1): some of every kind of examples are
            trained on in every epoch. Only with `keep_probability: null`.
    """

    least_kept: Annotated[float, Field(ge=0, lt=1), OnlyWith("keep_probability", None)] = 0.1


@register("infobatch", InfoBatchConfig)
class InfoBatch(Rule):
    """Qin et al., ICLR 2024: p = z where the score is below the mean score, and p = 1 elsewhere; w = 1 / p.

    The first epoch has no scores, and the last (1 - δ) K epochs (`delta`) are on all data. The others leave
    out as much more, so that the mean ratio of all K epochs is r: an epoch finds z from the share of its
    examples below the mean. Where that share is too small, z is `least_kept`, as the authors advise, and the
    run's ratio is below r. With `keep_probability` z is that, as in the paper, whose own r is 1 - z; `ratio`
    is then not used, and the share that an epoch leaves out depends on the scores.

    `max_ratio` and `min_probability` change nothing. The weights are the paper's, so that a step is N / S
    times as long, on average, as one on full data.
    """

    score = "loss"
    weighting = "inverse"

    def __init__(self, config: PruningConfig) -> None:
        super().__init__(config)
        if config.ratio == 1 and self.config.keep_probability is None:
            raise UsageError(
                f'ratio=1 with method="{config.method}" trains on no example below the mean; '
                "use a ratio below 1, or keep_probability"
            )

    @property
    def asked_ratio(self) -> float | None:
        """r, unless z is given."""
        return self.config.ratio if self.config.keep_probability is None else None

    def ratio(self, epoch: int) -> float:
        """r K / (⌊δ K⌋ - 1) from the second epoch to the ⌊δ K⌋-th, 1 at most; 0 in the others.

        With z given, 1 - z at most from the first epoch to the ⌊δ K⌋-th.
        """
        config, z = self.config, self.config.keep_probability
        if epoch >= config.pruned_epochs or (epoch == 0 and z is None):
            return 0.0
        if z is not None:
            return float(1 - z)
        return float(min(config.ratio * config.epochs / max(config.pruned_epochs - 1, 1), 1.0))

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = z below the mean, 1 elsewhere."""
        total, count = block_sums(table.scores)
        # The mean in the scores' own precision, in which the stand-in for unseen examples is not below it.
        below = table.scores < table.scores.dtype.type(total / max(count, 1))
        return np.where(below, self.z(below, subset_size, epoch), 1.0)

    def z(self, below: NDArray[np.bool_], subset_size: int, epoch: int) -> float:
        """z with N - (1 - z) n = S, where n examples are below; `least_kept` where that is larger."""
        if self.config.keep_probability is not None:
            return float(self.config.keep_probability) if epoch < self.config.pruned_epochs else 1.0
        N, n = len(below), int(np.count_nonzero(below))
        return max(1 - (N - subset_size) / max(n, 1), float(self.config.least_kept))
