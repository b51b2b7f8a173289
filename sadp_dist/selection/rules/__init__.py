"""The pruning rules by name. A new one is a new file with a registered class, imported below."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.schedule import PruningSchedule

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig


class Rule(Protocol):
    """What a pruning rule decides: how much of an epoch is kept, and each example's probability to be."""

    needs_scores: bool

    def schedule(self, config: PruningConfig) -> PruningSchedule:
        """The pruning ratio of every epoch."""
        ...

    def probabilities(
        self, scores: NDArray[np.floating], subset_size: int, config: PruningConfig
    ) -> tuple[NDArray[np.float64], Capping]:
        """(N,) probabilities that add up to `subset_size`, and how they came about."""
        ...


RULES: dict[str, Rule] = {}


def register(name: str) -> Callable[[type[Rule]], type[Rule]]:
    """Make a rule known under `name`, which is then what `method` may be."""

    def add(rule: type[Rule]) -> type[Rule]:
        RULES[name] = rule()
        return rule

    return add


from sadp_dist.selection.rules import full, random, sadp  # noqa: E402, F401
