"""A position within an epoch: saved by one job, and continued by another, with as many ranks or others.

The plan of an epoch is the same for every number of ranks, and only its split over the ranks differs. So a
job can compute what each rank of an earlier job has trained on, and split what is left over its own ranks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import Shard, shard

Taken = tuple[tuple[int, int], ...]
"""The jobs that have trained in an epoch, in order: (number of ranks, examples that each has taken). Each job
begins with what the one before left. Padding counts."""


@dataclass(frozen=True)
class EpochPosition:
    """How much of an epoch is done.

    Attributes:
        epoch: counted from 0.
        taken: by each job that has trained in this epoch; the last one is the job that saved this.
        size: examples of a rank of that job, with padding; None if unknown.
        rank: the rank that saved this. All ranks of a job are equally far.
        checksum: of the examples of that rank, in their order; None if unknown.
    """

    epoch: int
    taken: Taken
    size: int | None = None
    rank: int = 0
    checksum: int | None = None

    @property
    def left(self) -> int:
        """Examples that each rank has left; 0 also if that is unknown."""
        return 0 if self.size is None else max(self.size - self.taken[-1][1], 0)

    @property
    def is_end(self) -> bool:
        """Whether the epoch is known to be done."""
        return self.size is not None and self.left == 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position as lists and numbers."""
        return {**asdict(self), "taken": [list(job) for job in self.taken]}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> EpochPosition:
        """Return the position that `state_dict` returned.

        Raises:
            UsageError: it is something else.
        """
        try:
            jobs = tuple((int(ranks), int(count)) for ranks, count in state["taken"])
            rank = int(state["rank"])
            if all(ranks > 0 and count >= 0 for ranks, count in jobs) and 0 <= rank < jobs[-1][0]:
                return cls(int(state["epoch"]), jobs, state["size"], rank, state["checksum"])
        except (LookupError, TypeError, ValueError):
            pass
        what = ", ".join(map(str, state)) if isinstance(state, Mapping) else repr(state)
        raise UsageError(
            f"load_state_dict({{{what}}}): must be what state_dict() of a sampler or a loader returned"
        )

    def check(self, theirs: Shard, restore: str) -> None:
        """Refuse a plan with other examples than when this was saved.

        Args:
            theirs: what `rank` had in the job that saved this, by the plan as it is now.
            restore: what to do, for the error.

        Raises:
            UsageError: it differs.
        """
        other_size = self.size is not None and self.size != len(theirs.indices)
        if other_size or (self.checksum is not None and self.checksum != checksum(theirs)):
            raise UsageError(
                f"load_state_dict: the plan of epoch={self.epoch} has other examples than when the state was "
                f"saved; {restore}"
            )


class ShardProgress:
    """A rank's shard in this job; makes the positions within it.

    Args:
        shard: the rank's.
        rank: the rank.
        world_size: number of ranks.
        taken: by earlier jobs, from what they found; the shard is a part of the rest.
    """

    def __init__(self, shard: Shard, rank: int, world_size: int, taken: Taken = ()) -> None:
        self.shard, self.rank, self.world_size, self.taken = shard, rank, world_size, taken

    @cached_property
    def _checksum(self) -> int:
        return checksum(self.shard)

    @property
    def taken_before(self) -> int:
        """Examples that the earlier jobs have taken in this epoch, on all their ranks."""
        return sum(ranks * count for ranks, count in self.taken)

    def position(self, done: int) -> EpochPosition:
        """Return the position after so many examples of the shard."""
        taken = (*self.taken, (self.world_size, done))
        return EpochPosition(self.shard.epoch, taken, len(self.shard.indices), self.rank, self._checksum)


def checksum(of: Shard) -> int:
    """Return a checksum of a shard's examples, in their order."""
    return zlib.crc32(of.indices.tobytes())


def shards_after(
    taken: Taken,
    world_size: int,
    planned: Callable[[int, int], Shard],
    ordered: Callable[[Shard], Shard] = lambda shard: shard,
) -> list[Shard]:
    """Return the shard of every rank of a job that begins with what earlier jobs left.

    Each example that they left is in one shard. All shards have the same length, with padding as in
    `selection.plan.shard`.

    Args:
        taken: by the earlier jobs.
        world_size: number of ranks of the job.
        planned: returns the shard of a rank of so many ranks, of the whole epoch.
        ordered: puts a shard in the order in which a rank reads it.
    """
    sizes = [*(ranks for ranks, _ in taken), world_size]
    shards = [planned(rank, sizes[0]) for rank in range(sizes[0])]
    for (ranks, next_ranks), (_, count) in zip(pairwise(sizes), taken, strict=True):
        assert len(shards) == ranks
        rest = _rest(shards, count)
        shards = [ordered(_part(rest, rank, next_ranks)) for rank in range(next_ranks)]
    return shards


def _rest(shards: Sequence[Shard], taken: int) -> Shard:
    """Return what the ranks have left after so many examples each, batch by batch, without padding."""
    places = np.concatenate([np.arange(taken, len(one.indices)) for one in shards])
    in_turn = np.argsort(places, kind="stable")
    indices = np.concatenate([one.indices[taken:] for one in shards])[in_turn]
    weights = np.concatenate([one.weights[taken:] for one in shards])[in_turn]
    examples = weights > 0
    return replace(shards[0], indices=indices[examples], weights=weights[examples])


def _part(rest: Shard, rank: int, world_size: int) -> Shard:
    indices, weights = shard(rest.indices, rest.weights, rank, world_size)
    return replace(rest, indices=indices, weights=weights)
