"""Dealing out an epoch's subset by blocks: a rank trains on examples that lie together in the data set.

Blocks of so many consecutive examples come in a random order, another one every epoch. What is drawn of them,
in that order, is cut into one run for each rank, as long as each other. Inside its run a rank has a random
order of single examples. So a rank needs few pages of a file, and shares at most those at its two cuts.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.order import index_type, shuffled
from sadp_dist.selection.random import bits
from sadp_dist.selection.sharding import check_rank


def by_block(drawn: NDArray[np.uint8], n: int, key: np.uint64, block: int) -> NDArray[np.integer]:
    """Return the drawn examples of 0..n-1 in a random order of blocks, and inside each in ascending order.

    Args:
        drawn: (ceil(n / 8),) packed bits, which of 0..n-1 are drawn.
        n: examples in all.
        key: of the random numbers, from `random.stream_key`.
        block: examples in a block, at least 1; the last block may have fewer.

    Returns:
        Their indices, `order.index_type(n)`.
    """
    indices = np.empty(int(np.bitwise_count(drawn).sum(dtype=np.int64)), index_type(n))
    _walk(drawn, n, _block_order(key, -(-n // block)), block, indices)
    return indices


def run_of_rank(
    order: NDArray[np.integer], weights: NDArray[np.float64], rank: int, world_size: int, key: np.uint64
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return one rank's run of an epoch's order, shuffled.

    Runs differ by one example at most. A shorter one is padded at its end with the example before it, with
    weight 0; that example lies beside its own.

    Args:
        order: (n,) the subset in the order of `by_block`.
        weights: (n,) float64, theirs.
        rank: 0 <= rank < world_size.
        world_size: W >= 1.
        key: of the order inside a run.

    Returns:
        Indices int64 and weights float64, ceil(n / W) each.

    Raises:
        UsageError: rank or world_size out of range.
    """
    check_rank(rank, world_size)
    least, longer = divmod(len(order), world_size)
    begin = rank * least + min(rank, longer)
    length = least + (rank < longer)
    everyone = np.full(-(-length // 8), 255, np.uint8)
    place = shuffled(everyone, length, key)
    padded = 0 < longer <= rank and begin > 0
    indices, shard_weights = np.empty(length + padded, np.int64), np.empty(length + padded)
    indices[place], shard_weights[place] = order[begin : begin + length], weights[begin : begin + length]
    if padded:
        indices[-1], shard_weights[-1] = order[begin - 1], 0.0
    return indices, shard_weights


def _block_order(key: np.uint64, blocks: int) -> NDArray[np.int64]:
    return np.argsort(_bits_of(key, blocks), kind="stable")


@njit(cache=True, nogil=True)
def _bits_of(key: np.uint64, count: int) -> NDArray[np.uint64]:
    found = np.empty(count, np.uint64)
    for i in range(count):
        found[i] = bits(key, i)
    return found


@njit(cache=True, nogil=True)
def _walk(
    drawn: NDArray[np.uint8], n: int, order: NDArray[np.int64], block: int, indices: NDArray[np.integer]
) -> None:
    count = 0
    for number in order:
        for i in range(number * block, min((number + 1) * block, n)):
            if (drawn[i >> 3] >> (i & 7)) & 1:
                indices[count] = i
                count += 1
