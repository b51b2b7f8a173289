"""The pruning ratio of each epoch (Eq. 42)."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

from sadp_dist.errors import UsageError


def check_schedule(ratio: float, max_ratio: float | None, epochs: int) -> None:
    """Refuse a schedule whose ratios would leave [0, 1] or shrink over the run.

    Raises:
        UsageError: r outside [0, 1], r_max outside [r, min(1, 2r)] or K below 1.
    """
    if not isinstance(ratio, Real) or not 0 <= ratio <= 1:
        raise UsageError(f"ratio={ratio!r} is not a number in [0, 1]")
    highest = min(1.0, 2 * ratio)
    if max_ratio is not None and (not isinstance(max_ratio, Real) or not ratio <= max_ratio <= highest):
        raise UsageError(
            f"max_ratio={max_ratio!r} is outside [{ratio:g}, {highest:g}], "
            f"what ratio={ratio:g} allows: ratio <= max_ratio <= min(1, 2 * ratio)"
        )
    if not isinstance(epochs, Integral) or epochs < 1:
        raise UsageError(f"epochs={epochs} is not a whole number of at least 1")


def ratio_of_epoch(r: float, r_max: float, K: int, k: int) -> float:
    """r_k = 2r - r_max + k (2 r_max - 2r) / K, for epoch k = 1..K (Eq. 42)."""
    # Written around r_max so that the last ratio is r_max and a constant one is r, without rounding.
    return max(0.0, r_max - (K - k) * (2 * r_max - 2 * r) / K)


def warn_of_empty_epochs(last_ratio: float, constant: bool, epochs: int) -> None:
    """Warn if the last ratio is 1: that epoch trains on no example."""
    if last_ratio == 1:
        which = "every epoch trains" if constant else f"the last of {epochs} epochs trains"
        warnings.warn(f"a pruning ratio of 1 keeps no example: {which} on nothing", stacklevel=3)


class PruningSchedule:
    """A pruning ratio that grows linearly to r_max in the last epoch while its mean stays near r.

    Args:
        ratio: mean pruning ratio r, in [0, 1].
        max_ratio: ratio of the last epoch, r <= r_max <= min(1, 2r) (above 2r the first ratio would be
            negative); None for r, which keeps the ratio constant.
        epochs: number of epochs K.

    Raises:
        UsageError: a value out of its range.
    """

    def __init__(self, ratio: float, max_ratio: float | None = None, epochs: int = 1) -> None:
        check_schedule(ratio, max_ratio, epochs)
        self.mean_ratio = float(ratio)
        self.max_ratio = self.mean_ratio if max_ratio is None else float(max_ratio)
        self.epochs = int(epochs)
        warn_of_empty_epochs(self.max_ratio, ratio == 1, epochs)

    def ratio(self, k: int) -> float:
        """r_k = 2r - r_max + k (2 r_max - 2r) / K, for epoch k = 1..K (Eq. 42).

        Raises:
            UsageError: k is not an epoch of this schedule.
        """
        if not 1 <= k <= self.epochs:
            raise UsageError(f"k={k} is not one of the schedule's epochs, 1..{self.epochs}")
        return ratio_of_epoch(self.mean_ratio, self.max_ratio, self.epochs, k)
