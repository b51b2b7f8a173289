"""Draws carried over epochs: an example that was left out is nearer to being drawn the next time.

Every example has a credit. Each epoch adds the example's probability to it; the S examples of largest credit
are drawn, and pay 1. So an example is drawn as often as its probabilities add up to, and a subset has exactly
S examples. Credits begin spread evenly between 0 and 1, in a random order: with equal probabilities an
example then comes round every N / S epochs, rounded up or down.

Where no probability is below a floor β, every example is drawn in any L = 1 / β epochs, rounded up: whoever
was drawn L epochs ago is drawn now, before all others. There is room, as no more than S examples were drawn
then, and those not drawn yet are spread over the first L epochs, N / L <= S in each. (Where S shrinks from
epoch to epoch, those who have waited longest come first.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.passes import in_threads, stretches
from sadp_dist.selection.random import Stream, shuffled, stream_key, uniform

CREDIT, LAST_DRAWN = "credit", "last_drawn"
"""Names of the arrays in `ScoreTable.state`, (N,) each: the credits, and the epoch in which each example was
drawn last; the sum of it and L is when it has to be drawn again."""
STATE: Mapping[str, type] = {CREDIT: np.float32, LAST_DRAWN: np.int32}
_NEVER = -(2**31)
"""Below every epoch drawn last."""
_FIRST = np.float32(2**20)
"""Above every credit."""


def draw_carried(
    state: Mapping[str, NDArray[Any]],
    p: NDArray[np.float64],
    size: int,
    seed: int,
    epoch: int,
    floor: float = 0.0,
) -> NDArray[np.uint8]:
    """Draw the examples that have waited longest, if too long, and those of largest credit, and let them pay.

    Args:
        state: `STATE` from the epoch before, all 0 at first; changed in place.
        p: (N,) in [0, 1].
        size: number of examples to draw, 0 <= size <= N.
        seed: of the random numbers.
        epoch: likewise.
        floor: β, below which no p is; 0 for none.

    Returns:
        (ceil(N / 8),) packed bits: example i is bit i % 8, from the lowest up, of byte i // 8.
    """
    credit, last = state[CREDIT], state[LAST_DRAWN]
    N = len(credit)
    drawn = np.zeros(-(-N // 8), np.uint8)
    L = math.ceil(1 / floor - 1e-9) if floor > 0 else None
    if not credit.any():
        _begin(credit, last, epoch, L, stream_key(seed, 0, Stream.PHASE))
    too_long_ago = _NEVER if L is None else epoch - L
    parts = stretches(N)
    overdue = in_threads(lambda some: _add(credit[some], p[some], last[some], too_long_ago), parts)
    if size == 0:
        return drawn
    rank = credit
    if any(overdue):
        waited = (epoch - last).astype(np.float32)
        rank = np.where(last <= too_long_ago, _FIRST + waited, credit)
    threshold = np.partition(rank, N - size)[N - size]
    equal = np.flatnonzero(rank == threshold)
    wanted = size - int(np.count_nonzero(rank > threshold))
    if wanted < len(equal):  # chance decides between those of equal rank
        equal = equal[np.argpartition(uniform(seed, epoch, equal), wanted - 1)[:wanted]]

    def draw(some: slice) -> None:
        _draw_above(rank[some], threshold, credit[some], last[some], epoch, drawn[some.start // 8 :])

    in_threads(draw, parts)
    credit[equal] -= np.float32(1)
    last[equal] = epoch
    np.bitwise_or.at(drawn, equal >> 3, (1 << (equal & 7)).astype(np.uint8))
    return drawn


def _begin(
    credit: NDArray[np.float32], last: NDArray[np.int32], epoch: int, L: int | None, key: np.uint64
) -> None:
    """Spread credits, and the epochs by which the examples are to be drawn first, in one random order."""
    N = len(credit)
    order = shuffled(np.full(-(-N // 8), 255, np.uint8), N, key)
    place = np.arange(N)
    credit[order] = 1 - (place + 0.5) / N
    last[order] = epoch - 1 if L is None else epoch - L + place * min(L, N) // N


@njit(cache=True, nogil=True)
def _add(
    credit: NDArray[np.float32], p: NDArray[np.float64], last: NDArray[np.int32], too_long_ago: int
) -> bool:
    """Add p; return whether an example was last drawn too long ago."""
    found = False
    for i in range(len(p)):
        credit[i] = np.float32(credit[i] + p[i])
        found |= last[i] <= too_long_ago
    return found


@njit(cache=True, nogil=True)
def _draw_above(
    rank: NDArray[np.float32],
    threshold: np.float32,
    credit: NDArray[np.float32],
    last: NDArray[np.int32],
    epoch: int,
    drawn: NDArray[np.uint8],
) -> None:
    """Draw those whose rank is above the threshold; `drawn` begins with the byte of the first one."""
    for byte in range(-(-len(rank) // 8)):
        found = np.uint8(0)
        for i in range(8 * byte, min(8 * byte + 8, len(rank))):
            if rank[i] > threshold:
                credit[i] -= np.float32(1)
                last[i] = epoch
                found |= np.uint8(1) << np.uint8(i & 7)
        drawn[byte] = found
