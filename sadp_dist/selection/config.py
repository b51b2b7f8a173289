"""What a person can set about pruning: the keys of a configuration's `pruning:` section."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.probabilities import ZERO_SCORES
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.rules import RULES, Rule
from sadp_dist.selection.sampling import SCHEMES
from sadp_dist.selection.schedule import PruningSchedule, check_schedule

STRATIFICATIONS = ("none", "class", "class-score")
UNSEEN = ("mean", "max")
DELTA = 0.875


@dataclass(frozen=True)
class PruningConfig:
    """How much is pruned, by which rule, and how the subset of an epoch is drawn.

    Attributes:
        ratio: mean pruning ratio r over the run, in [0, 1].
        max_ratio: ratio of the last epoch, r <= r_max <= min(1, 2r); None keeps the ratio constant (Eq. 42).
        epochs: number of epochs K of the schedule.
        min_probability: the floor β under every selection probability of "sadp", in [0, 1].
        method: the pruning rule: "sadp", "infobatch", "batch-loss", "seta", "rcap", "repb", "forgetting",
            "el2n", "grand", "random", "reduced-epoch", "full", or another one that was registered; see the
            page on rules.
        scheme: "systematic" (a subset of fixed size) or "bernoulli" (independent draws, as in the paper).
        stratify: "none", "class" or "class-score": what "systematic" spreads its subset over.
        zero_scores: "floor" (a score of 0 is one like any other) or "paper" (it gets probability 0).
        unseen: what an example without a score counts as: the "mean" or the "max" of the scores seen.
        seed: of every random number of the run's plans, 0 <= seed < 2^64.
        tracking_epochs: epochs on all data that come before the run proper, with a method that tracks
            training to find its scores: "forgetting", "el2n" and "grand"; None: 10.
        shard_block: for data larger than memory: examples that follow each other in the data set and go to
            the same rank together; None deals out every example by itself.
        keep_probability: with which "infobatch", "batch-loss" and "repb" keep an example below the mean (z),
            and "seta" one in its window, in (0, 1]; `ratio` then has no say. None: what meets `ratio`.
        delta: the share δ of the epochs in which "infobatch", "batch-loss", "repb" and "seta" leave out
            examples by their scores, in [0, 1]; None: 0.875.
        groups: of like loss, that "seta" makes; None: 5.
        window_scale: share of the groups that take part in an epoch of "seta", in (0, 1]; None: 0.9.
        temperature: of the losses in "rcap", in [0.05, 1000]; the lower, the more the largest are preferred.
            None: 1.

    Raises:
        UsageError: a value out of its range, or a name that is not known.
    """

    ratio: float = 0.5
    max_ratio: float | None = None
    epochs: int = 1
    min_probability: float = 0.0
    method: str = "sadp"
    scheme: str = "systematic"
    stratify: str = "none"
    zero_scores: str = "floor"
    unseen: str = "mean"
    seed: int = 0
    tracking_epochs: int | None = None
    shard_block: int | None = None
    keep_probability: float | None = None
    delta: float | None = None
    groups: int | None = None
    window_scale: float | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, RULES)
        check_choice("scheme", self.scheme, SCHEMES)
        check_choice("stratify", self.stratify, STRATIFICATIONS)
        check_choice("zero_scores", self.zero_scores, ZERO_SCORES)
        check_choice("unseen", self.unseen, UNSEEN)
        check_schedule(self.ratio, self.max_ratio, self.epochs)
        if not isinstance(self.min_probability, Real) or not 0 <= self.min_probability <= 1:
            raise UsageError(f"min_probability={self.min_probability!r} is not a number in [0, 1]")
        if not isinstance(self.seed, Integral) or not 0 <= self.seed < 2**64:
            raise UsageError(f"seed={self.seed!r} is not an integer in [0, 2^64 - 1]")
        tracking = self.tracking_epochs
        if tracking is not None and (
            not isinstance(tracking, Integral) or isinstance(tracking, bool) or tracking < 1
        ):
            raise UsageError(f"tracking_epochs={tracking!r} is not a whole number of at least 1")
        if self.stratify != "none" and self.scheme == "bernoulli":
            raise UsageError(
                f'stratify="{self.stratify}" needs scheme="systematic"; "bernoulli" draws each by itself'
            )
        block = self.shard_block
        if block is not None and (not isinstance(block, Integral) or isinstance(block, bool) or block < 1):
            raise UsageError(f"shard_block={block!r} is not a number of examples: an integer, at least 1")
        groups = self.groups
        if groups is not None and (
            not isinstance(groups, Integral) or isinstance(groups, bool) or groups < 1
        ):
            raise UsageError(f"groups={groups!r} is not a whole number of at least 1")
        for name, least, most, allowed in (
            ("delta", 0.0, 1.0, "a number in [0, 1]"),
            ("keep_probability", 1e-9, 1.0, "a number in (0, 1]"),
            ("window_scale", 1e-9, 1.0, "a number in (0, 1]"),
            ("temperature", 0.05, 1000.0, "a number in [0.05, 1000]"),
        ):
            value = getattr(self, name)
            if value is not None and not (
                isinstance(value, Real) and not isinstance(value, bool) and least <= value <= most
            ):
                raise UsageError(f"{name}={value!r} is not {allowed}")
        # Python's own numbers, for the configuration becomes JSON.
        for name in ("ratio", "min_probability"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("epochs", "seed"):
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("tracking_epochs", "shard_block", "groups"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("max_ratio", "keep_probability", "delta", "window_scale", "temperature"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        _ = self.schedule  # made here so that its warning about an empty epoch comes once, at the start

    @property
    def rule(self) -> Rule:
        """The rule of the run proper."""
        return RULES[self.method]

    @cached_property
    def schedule(self) -> PruningSchedule:
        """The ratio of every epoch of the run proper, as the method has it."""
        return self.rule.schedule(self)

    @property
    def tracked_epochs(self) -> int:
        """Epochs of tracking on all data, with which the run begins; 0 for most methods."""
        return self.rule.tracking(self)

    @property
    def pruned_epochs(self) -> int:
        """Epochs k <= δ K, after which methods with `delta` look at no scores."""
        return math.floor((DELTA if self.delta is None else self.delta) * self.epochs)

    @property
    def needs_labels(self) -> str | None:
        """The setting that needs the class of every example, for errors; None where none does."""
        if self.rule.needs_labels:
            return f'method="{self.method}"'
        return None if self.stratify == "none" else f'stratify="{self.stratify}"'

    @property
    def run_epochs(self) -> int:
        """Epochs in all, those of tracking included."""
        return self.tracked_epochs + self.schedule.epochs

    @property
    def planned_ratio(self) -> float:
        """The share of K epochs of all data that the schedule leaves out, tracking not counted.

        What a rule makes of the scores may be less: see `Capping.expected`.
        """
        schedule = self.schedule
        kept = sum(1 - schedule.ratio(k) for k in range(1, schedule.epochs + 1))
        return 1 - kept / self.epochs

    @property
    def asked_ratio(self) -> float | None:
        """What a run is to leave out of K epochs; None where `keep_probability` stands for `ratio`."""
        if self.method == "full":
            return 0.0
        return None if self.rule.has_keep_probability and self.keep_probability is not None else self.ratio

    def epochs_in_words(self) -> str:
        """What makes `run_epochs`, for errors."""
        if self.run_epochs == self.epochs:
            return f"epochs={self.epochs}"
        return f'epochs={self.epochs} with method="{self.method}" make {self.run_epochs}'

    def rule_of(self, epoch: int) -> tuple[Rule, float]:
        """The rule and the ratio of an epoch of the run, from 0: in those of tracking, that of full data."""
        proper = epoch - self.tracked_epochs
        return (RULES["full"], 0.0) if proper < 0 else (self.rule, self.schedule.ratio(proper + 1))

    @property
    def combine(self) -> Callable[..., NDArray[np.floating]] | None:
        """`Rule.combine` of this configuration: combine(before, new, epoch); None where the rule has none."""
        combine = self.rule.combine
        return None if combine is None else partial(combine, config=self)

    def run_key(self, epoch: int) -> np.uint64 | None:
        """Of the order inside a rank's run of blocks; None where ranks have no runs."""
        return None if self.shard_block is None else stream_key(self.seed, epoch, Stream.RUN)
