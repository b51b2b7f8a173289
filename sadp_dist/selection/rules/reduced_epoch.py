"""Reduced Epoch, a baseline: all data, in fewer epochs: as many steps as with pruning."""

from __future__ import annotations

from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.full import FullData


@register("reduced-epoch")
class ReducedEpoch(FullData):
    """K' = (1 - r) K epochs of all data, rounded and at least one; the learning rate's schedule spans K'."""

    @property
    def asked_ratio(self) -> float:
        """r."""
        return float(self.config.ratio)

    @property
    def epochs(self) -> int:
        """K'."""
        reduced: int = round((1 - self.config.ratio) * self.config.epochs)
        return max(reduced, 1)
