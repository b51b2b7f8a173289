"""RS2: random subsets without repetition, until every example has come once."""

from __future__ import annotations

from typing import Literal

from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.random import RandomPruning


class RS2Config(PruningConfig):
    """Options of RS2.

    Attributes:
        scheme: "carried".
    """

    scheme: Literal["carried"] = "carried"


@register("rs2", RS2Config)
class RS2(RandomPruning):
    """Okanovic et al., ICLR 2024, "Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning".

    Every epoch has S other examples, until all N have been trained on, and then again: an example comes round
    every N / S epochs, rounded up or down. w = 1.

    Difference from the paper: it shuffles the data set anew after each round, after which an example may wait
    for up to two rounds. Here the rounds have the same order, and only the order inside an epoch is new.
    """
