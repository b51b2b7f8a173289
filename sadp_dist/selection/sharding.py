"""Splitting an epoch's shuffled subset over the ranks, the same number for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.threads import in_threads, slices

_COPY = 2**20  # examples of a shard that a thread copies in one go


@dataclass(frozen=True)
class Shard:
    """What one rank trains on in one epoch.

    Attributes:
        indices: (n,) int64, in the order of training; every rank of the epoch has the same n.
        weights: (n,) float64, 0 where the example is a repeat that pads the shard.
        subset_size: S in the weights: Σ w x / S over all shards is the rule's mean of x, for most rules an
            estimate of that over the dataset (`Rule.weights`); with weights 1 / p it is N.
        dataset_size: N.
        ratio: pruning ratio of the epoch.
        epoch: counted from 0.
        drawn: how many examples all shards have together, padding not counted.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    subset_size: int
    dataset_size: int
    ratio: float
    epoch: int
    drawn: int


def shard(
    order: NDArray[np.integer], weights: NDArray[np.float64], rank: int, world_size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions rank, rank + W, rank + 2W, ... of the epoch's order, padded so that all have as many.

    Where W does not divide the n examples, the last positions wrap around to the first examples, with
    weight 0. Padding is never an example that its rank has already; with n = 0 every shard is empty.

    Args:
        order: (n,) integers, the subset in its shuffled order.
        weights: (n,) float64, theirs.
        rank: 0 <= rank < world_size.
        world_size: W >= 1.

    Returns:
        Indices int64 and weights float64, ceil(n / W) each.

    Raises:
        UsageError: rank or world_size out of range.
    """
    check_rank(rank, world_size)
    n = len(order)
    length = -(-n // world_size)
    indices, shard_weights = np.empty(length, np.int64), np.empty(length)

    def copy(some: slice) -> None:
        every = slice(rank + some.start * world_size, rank + some.stop * world_size, world_size)
        for whole, mine in ((order, indices), (weights, shard_weights)):
            taken = whole[every]
            mine[some.start : some.start + len(taken)] = taken

    in_threads(copy, slices(length, _COPY))
    last = rank + (length - 1) * world_size
    if last >= n > 0:
        indices[-1], shard_weights[-1] = order[last % n], 0.0
    return indices, shard_weights


def check_rank(rank: int, world_size: int) -> None:
    """Refuse a rank that is not one of `world_size`."""
    if world_size < 1:
        raise UsageError(f"world_size={world_size} is not a number of ranks: at least 1")
    if not 0 <= rank < world_size:
        raise UsageError(f"rank={rank} is outside [0, {world_size - 1}], as world_size={world_size}")
