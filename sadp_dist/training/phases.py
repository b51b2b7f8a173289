"""The phases of a run: tracking, if the method needs it, then those of its curriculum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sadp_dist.training.config import TrainConfig


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs that see their examples in the same way.

    Attributes:
        begin: its first epoch.
        end: the epoch after its last.
        time_steps: T.
        image_size: side of the images in pixels; None: that of the data, as in all phases.
        augment_strength: strength of augmentation, 1 as configured.
        tracking: whether it is tracking, on full data.
        of_curriculum: whether it is a phase of the configuration's curriculum.
    """

    begin: int
    end: int
    time_steps: int
    image_size: int | None = None
    augment_strength: float = 1.0
    tracking: bool = False
    of_curriculum: bool = False

    @property
    def in_words(self) -> str:
        """What the output of a run says of its epochs; "" for those of a run without phases."""
        if self.tracking:
            return "tracking"
        if not self.of_curriculum:
            return ""
        size = "" if self.image_size is None else f", {self.image_size} x {self.image_size}"
        strength = "" if self.augment_strength == 1 else f", augmentation x {self.augment_strength:g}"
        return f"T = {self.time_steps}{size}{strength}"

    @property
    def figures(self) -> dict[str, Any]:
        """What the record of an epoch says of its phase; nothing in a run without phases."""
        if self.tracking:
            return {"phase": "tracking"}
        if not self.of_curriculum:
            return {}
        size = {} if self.image_size is None else {"image_size": self.image_size}
        return {"time_steps": self.time_steps, **size, "augment_strength": self.augment_strength}


@dataclass(frozen=True)
class Phases:
    """All phases in order. Epochs count from 0 through all of them; tracking ends with new weights.

    Attributes:
        all: the phases, without gaps.
        planned: K of the configuration.
        fixed: whether the subset is fixed after tracking.
    """

    all: tuple[Phase, ...]
    planned: int
    fixed: bool = False

    @classmethod
    def of(cls, config: TrainConfig) -> Phases:
        """Return the phases of a run. The epochs of tracking are like those of a run without curriculum."""
        pruning, time_steps = config.pruning, config.network.time_steps
        tracked = pruning.tracked_epochs
        tracking = (Phase(0, tracked, time_steps, tracking=True),) if tracked else ()
        return cls((*tracking, *_of_curriculum(config, tracked)), pruning.epochs, pruning.rule.fixed)

    def at(self, epoch: int) -> Phase:
        """Return the phase of an epoch."""
        return next(phase for phase in self.all if epoch < phase.end)

    def cost(self, epoch: int) -> float:
        """Return the time of an example in an epoch, relative to one of the last epoch; roughly."""
        phase, last = self.at(epoch), self.all[-1]
        side = 1.0 if phase.image_size is None else phase.image_size / (last.image_size or phase.image_size)
        return phase.time_steps / last.time_steps * side**2

    @property
    def epochs(self) -> int:
        """Total number of epochs."""
        return self.all[-1].end

    @property
    def tracking(self) -> int:
        """Number of tracking epochs on full data; 0 for most methods."""
        return self.all[0].end if self.all[0].tracking else 0

    def begins_anew(self, epoch: int) -> bool:
        """Return whether an epoch is the first after tracking."""
        return 0 < self.tracking == epoch

    def scores(self, epoch: int) -> bool:
        """Return whether an epoch's scores are needed: not after tracking with a fixed subset."""
        return epoch < self.tracking or not (self.fixed and self.tracking)

    def evaluates(self, done: int, every: int) -> bool:
        """Return whether to evaluate after so many epochs: every n-th after tracking, and the last."""
        proper = done - self.tracking
        return proper > 0 and (proper % every == 0 or done == self.epochs)

    def place(self, epoch: int) -> tuple[int, int]:
        """Return an epoch since the weights were initialised, from 0, and the epochs of its schedule."""
        done, epochs = self.on_schedule(epoch)
        return int(done), epochs

    def on_schedule(self, done: float) -> tuple[float, int]:
        """Return the (fractional) epochs done since the weights were initialised, and those of the schedule.

        Tracking uses the schedule of a training of K epochs, or of its own length if that is longer.
        """
        if done < self.tracking:
            return done, max(self.tracking, self.planned)
        return done - self.tracking, self.epochs - self.tracking


def _of_curriculum(config: TrainConfig, begin: int) -> Iterator[Phase]:
    """Yield the phases after tracking that have an epoch; the last one always has.

    Args:
        config: of the run.
        begin: the first epoch after tracking.
    """
    curriculum, T = config.training.curriculum, config.network.time_steps
    sized = any(phase.image_size is not None for phase in curriculum)
    first, epochs = begin, config.pruning.rule.epochs
    for phase in curriculum:
        last = phase is curriculum[-1]
        end = first + (epochs if last else min(round(phase.until * epochs), epochs - 1))
        if end > begin:
            size = (phase.image_size or config.data.image_size) if sized else None
            strength = phase.augment_strength
            yield Phase(begin, end, phase.time_steps or T, size, strength, of_curriculum=True)
            begin = end
    if not curriculum:
        yield Phase(begin, begin + epochs, T)
