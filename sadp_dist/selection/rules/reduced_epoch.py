"""Reduced Epoch, a baseline: all data, in fewer epochs: as many steps as with pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.selection.rules import register
from sadp_dist.selection.rules.full import FullData
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


@register("reduced-epoch")
class ReducedEpoch(FullData):
    """K' = (1 - r) K epochs of all data, rounded and at least one; the learning rate's schedule spans K'."""

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """0 in each of K' epochs."""
        return PruningSchedule(0.0, 0.0, max(round((1 - config.ratio) * config.epochs), 1))
