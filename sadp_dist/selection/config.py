"""The keys of a configuration's `pruning:` section, and the schedule of the pruning ratio (Eq. 42)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from sadp_dist.errors import UsageError
from sadp_dist.registry import Registry
from sadp_dist.sections import OnlyWith, Section
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.rule import RULES, Rule


class PruningConfig(Section):
    """How much is pruned, by which rule, and how the subset of an epoch is drawn.

    A rule may have options of its own, such as `temperature` of "rcap". They are keys here, too, which are
    accepted only with that rule; see the page on rules.

    Attributes:
        ratio: mean pruning ratio r over the run, in [0, 1].
        max_ratio: ratio of the last epoch, r <= r_max <= min(1, 2r); None keeps the ratio constant (Eq. 42).
            "sadp" and "sadp-plus" use it, as the next ones.
        schedule: how ratios reach `max_ratio`: "exact": the mean of all epochs is r; "paper": Eq. 42 as
            published, whose mean is r + (r_max - r) / K.
        epochs: number of epochs K of the schedule.
        floor: what `min_probability` is relative to: "relative": to S / N of the epoch, so that scores act in
            every epoch, and a weight is at most 1 / b; "absolute": to 1, as published.
        min_probability: the smallest selection probability, in [0, 1]: b with a relative floor, which is then
            β = b S / N; β with an absolute one.
        method: the pruning rule: "sadp", "infobatch", "batch-loss", "seta", "rcap", "repb", "forgetting",
            "el2n", "grand", "random", "reduced-epoch", "full", or another one that was registered; see the
            page on rules.
        scheme: "systematic" (a subset of fixed size), "bernoulli" (independent draws, as in the paper) or
            "carried" (a subset of fixed size, in which an example that was left out is nearer to being drawn
            the next time: over the epochs each is drawn as often as its probabilities add up to).
        stratify: "none", "class" or "class-score": what "systematic" spreads its subset over.
        weight_exponent: θ of the weights w^θ, scaled to a mean of 1, in [0, 1]. 1: the gradient is unbiased.
            0: all drawn examples weigh the same, so that training stays on those of large scores. "auto":
            from 1 to 0 as the scores' coefficient of variation grows from 0.5 to 2. For rules whose weights
            are S / (N p): "sadp", "sadp-plus".
        zero_scores: "floor" (a score of 0 is treated like any other) or "paper" (it gets probability 0).
            "sadp" uses it.
        unseen: what an example without a score counts as: the "mean" or the "max" of the scores seen.
        seed: of every random number of the run's plans, 0 <= seed < 2^64.
        shard_block: for data larger than memory: examples that follow each other in the data set and go to
            the same rank together; None deals out every example by itself.

    Raises:
        UsageError: a value out of its range, a name that is not known, or an option of another rule.
    """

    kinds: ClassVar[Registry[type[Rule]]] = RULES
    kind_key: ClassVar[str] = "method"

    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_ratio: float | None = None
    schedule: Literal["exact", "paper"] = "exact"
    epochs: Annotated[int, Field(ge=1)] = 1
    floor: Literal["relative", "absolute"] = "relative"
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.2
    method: str = "sadp"
    scheme: Literal["systematic", "bernoulli", "carried"] = "systematic"
    stratify: Annotated[Literal["none", "class", "class-score"], OnlyWith("scheme", "systematic")] = "none"
    weight_exponent: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    zero_scores: Literal["floor", "paper"] = "floor"
    unseen: Literal["mean", "max"] = "mean"
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    shard_block: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def keys_in_use(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of a saved section that have an effect; see `Section.keys_in_use`.

        Versions before 0.3 had no `schedule` and no `floor`: what is now "paper" and "absolute". The default
        of `min_probability` was 0, and so was what is now `least_kept`.
        """
        in_use = super().keys_in_use(saved)
        if "schedule" in saved:
            return in_use
        if saved.get("method", "sadp") == "sadp":
            return {"schedule": "paper", "floor": "absolute", "min_probability": 0.0, **in_use}
        if in_use.get("min_probability") == 0:
            del in_use["min_probability"]
        by_ratio = in_use.get("keep_probability") is None
        if saved.get("method") in ("infobatch", "batch-loss", "repb") and by_ratio:
            in_use["least_kept"] = 0.0
        return in_use

    @model_validator(mode="after")
    def _check(self) -> PruningConfig:
        _check_schedule(self.ratio, self.max_ratio, self.epochs)
        if self.scheme == "carried" and self.rule.fixed:
            raise UsageError(
                f'scheme="carried" changes the subset in every epoch, and method="{self.method}" keeps one; '
                'use scheme="systematic"'
            )
        by_score = self.rule.needs_scores and self.rule.weighting == "importance"
        if self.weight_exponent != 1 and not by_score:
            raise UsageError(
                f"weight_exponent={self.weight_exponent} has no meaning with "
                f'method="{self.method}", whose weights are not S / (N p) of a score; leave it out'
            )
        last = self.rule.epochs - 1
        _warn_of_empty_epochs(self.rule.ratio(last), self.ratio == 1, last + 1)
        return self

    @cached_property
    def rule(self) -> Rule:
        """The rule of the run proper."""
        return RULES[self.method](self)

    @property
    def tracked_epochs(self) -> int:
        """Epochs of tracking on all data, with which the run begins; 0 for most methods."""
        return self.rule.tracked_epochs

    @property
    def needs_labels(self) -> str | None:
        """The setting that needs the class of every example, for errors; None where none does."""
        if self.rule.needs_labels:
            return f'method="{self.method}"'
        return None if self.stratify == "none" else f'stratify="{self.stratify}"'

    @property
    def run_epochs(self) -> int:
        """Epochs in all, those of tracking included."""
        return self.tracked_epochs + self.rule.epochs

    @property
    def planned_ratio(self) -> float:
        """The share of K epochs of all data that the rule's ratios leave out, tracking not counted."""
        kept = sum(1 - self.rule.ratio(epoch) for epoch in range(self.rule.epochs))
        return 1 - kept / self.epochs

    def epochs_in_words(self) -> str:
        """What makes `run_epochs`, for errors."""
        if self.run_epochs == self.epochs:
            return f"epochs={self.epochs}"
        return f'epochs={self.epochs} with method="{self.method}" make {self.run_epochs}'

    def rule_of(self, epoch: int) -> tuple[Rule, int]:
        """The rule of an epoch of the run, and the epoch as the rule counts it, both from 0.

        While a rule tracks, it is the rule of full data.
        """
        proper = epoch - self.tracked_epochs
        return (RULES["full"](self), 0) if proper < 0 else (self.rule, proper)

    def run_key(self, epoch: int) -> np.uint64 | None:
        """Of the order inside a rank's run of blocks; None where ranks have no runs."""
        return None if self.shard_block is None else stream_key(self.seed, epoch, Stream.RUN)


def _check_schedule(ratio: float, max_ratio: float | None, epochs: int) -> None:
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


def ratio_of_epoch(r: float, r_max: float, K: int, k: float) -> float:
    """r_k = 2r - r_max + k (2 r_max - 2r) / K, for epoch k = 1..K (Eq. 42); k - ½ makes the mean r."""
    # Written around r_max so that the last ratio is r_max and a constant one is r, without rounding.
    return max(0.0, r_max - (K - k) * (2 * r_max - 2 * r) / K)


def _warn_of_empty_epochs(last_ratio: float, constant: bool, epochs: int) -> None:
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
        _check_schedule(ratio, max_ratio, epochs)
        self.mean_ratio = float(ratio)
        self.max_ratio = self.mean_ratio if max_ratio is None else float(max_ratio)
        self.epochs = int(epochs)
        _warn_of_empty_epochs(self.max_ratio, ratio == 1, epochs)

    def ratio(self, k: int) -> float:
        """r_k = 2r - r_max + k (2 r_max - 2r) / K, for epoch k = 1..K (Eq. 42).

        Raises:
            UsageError: k is not an epoch of this schedule.
        """
        if not 1 <= k <= self.epochs:
            raise UsageError(f"k={k} is not one of the schedule's epochs, 1..{self.epochs}")
        return ratio_of_epoch(self.mean_ratio, self.max_ratio, self.epochs, k)
