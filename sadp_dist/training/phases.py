"""The phases of a run: tracking, if the method needs it, then training with pruning."""

from __future__ import annotations

from dataclasses import dataclass

from sadp_dist.selection import PruningConfig


@dataclass(frozen=True)
class Phases:
    """The lengths of both phases. Epochs count from 0 through both; tracking ends with new weights.

    Attributes:
        tracking: number of tracking epochs on full data; 0 for most methods.
        proper: number of epochs after tracking.
        planned: K of the configuration.
        fixed: whether the subset is fixed after tracking.
    """

    tracking: int
    proper: int
    planned: int
    fixed: bool

    @classmethod
    def of(cls, pruning: PruningConfig) -> Phases:
        """Return the phases of a run."""
        return cls(pruning.tracked_epochs, pruning.rule.epochs, pruning.epochs, pruning.rule.fixed)

    @property
    def epochs(self) -> int:
        """Total number of epochs."""
        return self.tracking + self.proper

    def is_tracking(self, epoch: int) -> bool:
        """Return whether an epoch belongs to tracking."""
        return epoch < self.tracking

    def begins_anew(self, epoch: int) -> bool:
        """Return whether an epoch is the first after tracking."""
        return 0 < self.tracking == epoch

    def scores(self, epoch: int) -> bool:
        """Return whether an epoch's scores are needed: not after tracking with a fixed subset."""
        return self.is_tracking(epoch) or not (self.fixed and self.tracking)

    def evaluates(self, done: int, every: int) -> bool:
        """Return whether to evaluate after so many epochs: every n-th after tracking, and the last."""
        proper = done - self.tracking
        return proper > 0 and (proper % every == 0 or done == self.epochs)

    def place(self, epoch: int) -> tuple[int, int]:
        """Return an epoch counted from 0 in its phase, and the epochs of that phase's schedule."""
        done, epochs = self.on_schedule(epoch)
        return int(done), epochs

    def on_schedule(self, done: float) -> tuple[float, int]:
        """Return the (fractional) epochs done in the phase, and the epochs of its learning rate schedule.

        Tracking uses the schedule of a training of K epochs, or of its own length if that is longer.
        """
        if done < self.tracking:
            return done, max(self.tracking, self.planned)
        return done - self.tracking, self.proper
