"""SADP with scores that compare over time, subsets that complete each other, and weights that adapt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sadp_dist.selection.calibration import EXPECTED, curve, expect, sums_of_pairs
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import EpochPlan
from sadp_dist.selection.relative_scores import AVERAGE, TRUST, Times, add_to_averages, with_averages
from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.sadp import SADP
from sadp_dist.selection.table import ScoreTable


class SADPPlusConfig(PruningConfig):
    """Options of "sadp-plus".

    Attributes:
        scheme: "carried" by default: see `PruningConfig`.
        weight_exponent: "auto" by default: see `PruningConfig`.
        memory: by which the weight of a score in its example's average shrinks with each epoch, in [0, 1]; 0
            uses the last score only.
        calibrate: whether probabilities follow what the last epoch's scores say about averages, instead of
            the averages themselves; see `sadp_dist.selection.calibration`. Use it with a smaller
            `min_probability`.
    """

    scheme: Literal["carried", "systematic", "bernoulli"] = "carried"
    weight_exponent: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    memory: Annotated[float, Field(ge=0, le=1)] = 0.5
    calibrate: bool = False


@register("sadp-plus", SADPPlusConfig)
class SADPPlus(SADP):
    """SADP's probabilities, of better scores.

    A score is divided by the mean score of the examples trained on around the same time, and averaged with
    the example's earlier ones, which weigh less the older they are (`memory`).
    """

    state: ClassVar = {AVERAGE: np.float32, TRUST: np.float32}

    @property
    def arrays(self) -> dict[str, type]:
        """As `Rule.arrays`; with `calibrate`, the expected scores too."""
        return {**super().arrays, EXPECTED: np.float32} if self.config.calibrate else super().arrays

    def begin(self, table: ScoreTable, last: EpochPlan | None, epoch: int) -> None:
        """Add the scores of the epoch before to the averages, and learn from them what averages mean."""
        times, c = Times.of(table, last), None
        if self.config.calibrate and last is not None:
            c = curve(sums_of_pairs(table, last, times))
        add_to_averages(table, last, epoch, self.config.memory, times)
        if self.config.calibrate:
            expect(table, c)

    def known(self, table: ScoreTable) -> ScoreTable:
        """Return the averages, or what is expected from them, as scores."""
        return super().known(with_averages(table, EXPECTED if self.config.calibrate else AVERAGE))

    def weight_exponent(self, table: ScoreTable) -> float:
        """As `Rule.weight_exponent`, of the averages: expected scores are more alike than gradients are."""
        if self.config.calibrate:
            table = super().known(with_averages(table))
        return super().weight_exponent(table)
