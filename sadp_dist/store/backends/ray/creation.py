"""What the actors of a run are made with, and again whenever one's process starts."""

from __future__ import annotations

from typing import NamedTuple

from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.parts import split


class Creation(NamedTuple):
    """Small, for Ray keeps it as long as the run; what is large is lost with the process that sent it.

    Attributes:
        name: of the run.
        dataset_size: N.
        pruning: how epochs are planned.
        shards: over how many actors the examples are spread; 1 is the actor of the run itself.
        folder: where snapshots go, on a path that fsspec reads.
        token: random, and the run's origin at first.
    """

    name: str
    dataset_size: int
    pruning: PruningConfig
    shards: int
    folder: str
    token: int

    @property
    def ranges(self) -> list[range]:
        """The examples of each shard."""
        return split(self.dataset_size, self.shards)
