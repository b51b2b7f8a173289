"""The pruning rules by name. A new one is a new file with a registered class, imported below."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


class Rule(Protocol):
    """What a pruning rule decides: how much of an epoch is kept, and each example's probability to be.

    Attributes:
        needs_scores: examples without a score get one before the rule is asked.
        score: what it is defined with: "gradient" (Eq. 29) or "loss". A configuration may choose another one.
    """

    needs_scores: bool
    score: str

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """The pruning ratio of every epoch."""
        ...

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig
    ) -> tuple[Probability, Capping]:
        """Each example's probability as a function of its score, adding up to `subset_size`.

        A rule whose probabilities add up to something else, that depends on the scores, says so by
        `Capping.expected`; then that is the S of the epoch.

        Scores are looked at by `parts.each("compute", function, ...)`: function(scores, ...) of every part,
        which sends back something small; "compute_in_ranges" asks so of ranges of every part, in threads, and
        gives a list for each part. Parts may be in other processes, so the function, and the one that is
        returned, are such that can be pickled; the latter is called from several threads, with some scores.

        Returns:
            The probability, and how it came about.
        """
        ...


RULES: dict[str, Rule] = {}


def register(name: str) -> Callable[[type[Rule]], type[Rule]]:
    """Make a rule known under `name`, which is then what `method` may be."""

    def add(rule: type[Rule]) -> type[Rule]:
        RULES[name] = rule()
        return rule

    return add


from sadp_dist.selection.rules import full, infobatch, random, sadp  # noqa: E402, F401
