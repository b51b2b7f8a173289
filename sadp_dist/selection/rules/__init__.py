"""The pruning rules by name. A new one is a new file with a registered class, imported below."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.parts import AnyProbability, Parts
from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.schedule import PruningSchedule
from sadp_dist.selection.weighting import One, PerProbability, Weight

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


class Combine(Protocol):
    """What an example's score becomes when another epoch gives a new one."""

    def __call__(
        self,
        before: NDArray[np.float32],
        new: NDArray[np.float32],
        epoch: int,
        config: PruningConfig,
    ) -> NDArray[np.floating]:
        """The scores to keep, finite and >= 0.

        Never smaller for a larger `new`: an epoch that gives several keeps the largest, and neither the order
        in which they come nor a repeat changes that.

        Args:
            before: (n,) of the epoch scored before this one, NaN where there is none.
            new: (n,) of this epoch.
            epoch: counted from 0, that of the tracking included.
            config: of the run.
        """
        ...


class Rule(ABC):
    """What a pruning rule decides: how much of an epoch is kept, and each example's probability and weight.

    Attributes:
        needs_scores: it looks at scores, which training then has to give.
        fills_unseen: examples without a score get one before the rule is asked, see `PruningConfig.unseen`;
            else it sees NaN for them.
        needs_labels: it looks at the classes too.
        has_keep_probability: `keep_probability`, where it is given, takes the place of `ratio`.
        has_floor: `min_probability` is the least probability that it gives.
        score: what it is defined with, a name of `sadp_dist.scoring`: "gradient" (Eq. 29), "loss" and others.
            A configuration may choose another one.
        only_its_score: it may not.
        weights: "importance": w = S / (N p), so that Σ w x / S over the subset estimates the mean of x over
            the data set; "inverse": w = 1 / p, where Σ w x / N does; "one": w = 1, a mean over the subset.
        fixed: the draw's random numbers do not depend on the epoch: equal scores give the same subset in
            every one. Only the order of training is another one.
        combine: what a score becomes when another epoch gives a new one; None: the new one.
    """

    needs_scores: bool = True
    fills_unseen: bool = True
    needs_labels: bool = False
    has_keep_probability: bool = False
    has_floor: bool = False
    score: str = "gradient"
    only_its_score: bool = False
    weights: str = "importance"
    fixed: bool = False
    combine: Combine | None = None

    def tracking(self, config: PruningConfig) -> int:
        """Epochs on all data, each with weight 1, that come before the run proper and give it its scores.

        After them the network is trained anew.
        """
        return 0

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """The pruning ratio of every epoch of the run proper, and how many there are: `ratio` in all K."""
        return PruningSchedule(config.ratio, config.ratio, config.epochs)

    @abstractmethod
    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[AnyProbability, Capping]:
        """Each example's probability as a function of its score, adding up to `subset_size`.

        A rule whose probabilities add up to something else, that depends on the scores, says so by
        `Capping.expected`; then that is the S of the epoch.

        Scores are looked at by `parts.each("compute", function, ...)`: function(scores, ...) of every part,
        which sends back something small; "compute_in_ranges" asks so of ranges of every part, in threads, and
        gives a list for each part, and "compute_by_class" calls function(scores, labels, ...). Parts may be
        in other processes, so the function, and the one that is returned, are such that can be pickled; the
        latter is called from several threads, with some scores.

        `epoch` is of the run proper, from 0, as `k` - 1 is in `schedule`.

        Returns:
            The probability (of the score, or with `needs_labels` of the score and the class), and how it came
            about.
        """

    def weight(self, subset_size: int, dataset_size: int, config: PruningConfig, epoch: int) -> Weight:
        """The weight of a drawn example; a rule with its own returns that, which can be pickled.

        `weights` says all the same by what a weighted sum is to be divided.
        """
        if self.weights == "one":
            return One()
        return PerProbability(1.0 if self.weights == "inverse" else subset_size / max(dataset_size, 1))

    def weighted_size(self, subset_size: int, dataset_size: int, drawn: int) -> int:
        """By what a weighted sum over the subset is divided to be a mean: S, N or the number drawn."""
        return {"importance": subset_size, "inverse": dataset_size, "one": drawn}[self.weights]


RULES: dict[str, Rule] = {}


def register(name: str) -> Callable[[type[Rule]], type[Rule]]:
    """Make a rule known under `name`, which is then what `method` may be."""

    def add(rule: type[Rule]) -> type[Rule]:
        RULES[name] = rule()
        return rule

    return add


from sadp_dist.selection.rules import (  # noqa: E402, F401
    batch_loss,
    el2n,
    forgetting,
    full,
    grand,
    infobatch,
    random,
    rcap,
    reduced_epoch,
    repb,
    sadp,
    seta,
)
