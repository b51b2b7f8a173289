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
from sadp_dist.selection.sharding import Drawn


def by_block(
    drawn: NDArray[np.uint8], n: int, key: np.uint64, part: range, block: int
) -> tuple[NDArray[np.integer], NDArray[np.integer] | None]:
    """As `order.shuffled`, but in a random order of blocks, and inside each as in the data set.

    Args:
        drawn: (ceil(n / 8),) packed bits, which of 0..n-1 are drawn.
        n: examples in all.
        key: of the random numbers, from `random.stream_key`.
        part: the range whose examples are wanted; it begins and, before n, ends at a multiple of 8.
        block: examples in a block, at least 1; the last block may have fewer.
    """
    room = int(np.bitwise_count(drawn[part.start // 8 : -(-part.stop // 8)]).sum(dtype=np.int64))
    indices, positions = np.empty((2, room), index_type(n))
    _walk(drawn, n, _block_order(key, -(-n // block)), block, part.start, part.stop, indices, positions)
    return indices, None if len(part) == n else positions


def run_of_rank(share: Drawn, rank: int, world_size: int, drawn: int, key: np.uint64) -> Drawn:
    """What one rank has of a part's share of `drawn` examples; the positions are those in the rank's shard.

    Runs differ by one example at most; a shorter one is filled up at its end with the example before it, at
    weight 0, which lies beside its own.

    Args:
        share: of the part, at its positions among all that are drawn.
        rank: 0 <= rank < world_size.
        world_size: W >= 1.
        drawn: n, of all parts.
        key: of the order inside a run.
    """
    least, longer = divmod(drawn, world_size)
    begin = rank * least + min(rank, longer)
    length = least + (rank < longer)
    positions = np.arange(drawn) if share.positions is None else share.positions
    first, last = np.searchsorted(positions, (begin, begin + length))
    everyone = np.full(-(-length // 8), 255, np.uint8)
    place = shuffled(everyone, length, key, range(length))[0][positions[first:last] - begin]
    indices, weights = share.indices[first:last], share.weights[first:last]
    if 0 < longer <= rank and first > 0 and positions[first - 1] == begin - 1:  # the fill is this part's
        indices, weights = np.append(indices, share.indices[first - 1]), np.append(weights, 0.0)
        place = np.append(place, length)
    return Drawn(place, indices, weights)


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
    drawn: NDArray[np.uint8],
    n: int,
    order: NDArray[np.int64],
    block: int,
    begin: int,
    end: int,
    indices: NDArray[np.integer],
    positions: NDArray[np.integer],
) -> None:
    count, position = 0, 0
    for number in order:
        for i in range(number * block, min((number + 1) * block, n)):
            if (drawn[i >> 3] >> (i & 7)) & 1:
                if begin <= i < end:
                    indices[count], positions[count] = i, position
                    count += 1
                position += 1
