"""The phases of a run: an epoch's place in the tracking, if the method tracks, or in the run proper."""

from __future__ import annotations

from dataclasses import dataclass

from sadp_dist.selection import PruningConfig


@dataclass(frozen=True)
class Phases:
    """Epochs are counted from 0 through both phases; the weights begin anew after the first.

    Attributes:
        tracking: epochs of tracking on all data, 0 for most methods.
        proper: epochs of the run proper.
        planned: K, of the configuration.
        fixed: the subset is found once, by tracking alone.
    """

    tracking: int
    proper: int
    planned: int
    fixed: bool

    @classmethod
    def of(cls, pruning: PruningConfig) -> Phases:
        """Those of a run."""
        return cls(pruning.tracked_epochs, pruning.rule.epochs, pruning.epochs, pruning.rule.fixed)

    @property
    def epochs(self) -> int:
        """In all."""
        return self.tracking + self.proper

    def is_tracking(self, epoch: int) -> bool:
        """Whether an epoch is one of tracking."""
        return epoch < self.tracking

    def begins_anew(self, epoch: int) -> bool:
        """Whether an epoch is the first after tracking."""
        return 0 < self.tracking == epoch

    def scores(self, epoch: int) -> bool:
        """Whether an epoch's scores are needed: after tracking for a fixed subset they are not."""
        return self.is_tracking(epoch) or not (self.fixed and self.tracking)

    def evaluates(self, done: int, every: int) -> bool:
        """Whether the network is evaluated after so many epochs: in the run proper, and at its end."""
        proper = done - self.tracking
        return proper > 0 and (proper % every == 0 or done == self.epochs)

    def place(self, epoch: int) -> tuple[int, int]:
        """An epoch counted from 0 in its phase, and the epochs of the training that it is one of."""
        done, epochs = self.on_schedule(epoch)
        return int(done), epochs

    def on_schedule(self, done: float) -> tuple[float, int]:
        """Epochs done of the phase, which may be a fraction, and those that its learning rate falls over.

        Tracking is the beginning of a training of K epochs, and of its own length only where that is longer.
        """
        if done < self.tracking:
            return done, max(self.tracking, self.planned)
        return done - self.tracking, self.proper
