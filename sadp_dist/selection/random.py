"""Random numbers and random orders that depend on (seed, epoch, stream, index) alone, whoever asks.

A random order of 0..n-1 is a keyed permutation, in O(n), without a sort: a Feistel network of four rounds on
pairs (left, right) of numbers below `width`: a round adds to one half a keyed random number of the other
half. Four such rounds make a pseudorandom permutation (Luby and Rackoff, 1988). It is walked a row (one left
half) at a time, so that no order of the whole dataset has to lie in memory. Rows know nothing of each other,
so that threads can share them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise, starmap

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.passes import in_threads, thread_count

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MIN_WIDTH = 128  # narrower ones would order few examples visibly unevenly
_STRETCH = 2**18  # examples whose rows are worth a thread


class Stream(IntEnum):
    """What a random number is for; numbers of different streams are independent."""

    DRAW = 0
    START = 1
    SPREAD = 2
    SHUFFLE = 3
    RUN = 4
    PHASE = 5


@njit(cache=True, nogil=True, inline="always")
def bits(key: np.uint64, index: int | np.unsignedinteger) -> np.uint64:
    """The 64 random bits of `index`: output number `index` of the generator splitmix64 seeded with `key`."""
    z = key + (np.uint64(index) + np.uint64(1)) * np.uint64(_GAMMA)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
    return z ^ (z >> np.uint64(31))


def stream_key(seed: int, epoch: int, stream: int) -> np.uint64:
    """The key of a stream: splitmix64 of the seed, of that plus the epoch, of that plus the stream."""
    key = 0
    for number in (seed, epoch, stream):
        key = _splitmix64((key + number) & _MASK)
    return np.uint64(key)


def _splitmix64(z: int) -> int:
    z = (z + _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    return z ^ (z >> 31)


@njit(cache=True, nogil=True)
def _uniform(key: np.uint64, indices: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    for j in range(len(indices)):
        out[j] = (bits(key, indices[j]) >> np.uint64(11)) * 2.0**-53


def uniform(
    seed: int, epoch: int, indices: NDArray[np.integer] | Sequence[int] | range, stream: int = Stream.DRAW
) -> NDArray[np.float64]:
    """The random numbers of examples, uniform in [0, 1) with 53 bits; float64, in the shape of `indices`."""
    index = np.asarray(indices, dtype=np.int64)
    out = np.empty(index.shape)
    _uniform(stream_key(seed, epoch, stream), index.ravel(), out.reshape(-1))
    return out


def empty_row(n: int) -> NDArray[np.unsignedinteger]:
    """Room for a row of the permutations of 0..n-1: (width,), uint32 where the numbers fit, else uint64."""
    width = max(_MIN_WIDTH, math.isqrt(max(n - 1, 0)) + 1)
    return np.empty(width, dtype=np.uint32 if width**2 < 2**32 else np.uint64)


def index_type(n: int) -> type[np.integer]:
    """Of indices below n: as few bytes as they need, for plans are kept."""
    return np.int32 if n <= 2**31 else np.int64


@njit(cache=True, nogil=True)
def first_round(key: np.uint64, row: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """What the first round adds, for every right half: the same in all rows."""
    added = np.empty_like(row)
    for right in range(len(row)):
        added[right] = _below(np.uint64(len(row)), bits(key, right))
    return added


@njit(cache=True, nogil=True)
def fill_row(
    left: int,
    n: int,
    key: np.uint64,
    first: NDArray[np.unsignedinteger],
    row: NDArray[np.unsignedinteger],
) -> int:
    """Write row `left`, 0 <= left < width, of the permutation to the front of `row`; returns its length."""
    width = np.uint64(len(row))
    for right in range(len(row)):
        L, R = np.uint64(left), np.uint64(right)
        L = _add(L, np.uint64(first[right]), width)
        R = _add(R, _below(width, bits(key, L + width)), width)
        L = _add(L, _below(width, bits(key, R + np.uint64(2) * width)), width)
        R = _add(R, _below(width, bits(key, L + np.uint64(3) * width)), width)
        row[right] = L * width + R
    if len(row) ** 2 == n:
        return len(row)
    length = 0
    for right in range(len(row)):  # width² is a little more than n: close the gaps, without a branch
        x = row[right]
        row[length] = x
        length += x < np.uint64(n)
    return length


@njit(cache=True, nogil=True, inline="always")
def _below(width: np.uint64, random_bits: np.uint64) -> np.uint64:
    """A number in 0..width-1."""
    return ((random_bits >> np.uint64(32)) * width) >> np.uint64(32)


@njit(cache=True, nogil=True, inline="always")
def _add(x: np.uint64, y: np.uint64, width: np.uint64) -> np.uint64:
    """x + y modulo width; unsigned, so that the difference is huge where it would be negative."""
    return min(x + y, x + y - width)


def shuffled(drawn: NDArray[np.uint8], n: int, key: np.uint64) -> NDArray[np.integer]:
    """Return the drawn examples of 0..n-1 in the permutation's order.

    Whether an example is drawn moves none of the others.

    Args:
        drawn: (ceil(n / 8),) packed bits: example i is bit i % 8, from the lowest up, of byte i // 8.
        n: examples in all.
        key: of the random numbers, from `stream_key`.

    Returns:
        Their indices, `index_type(n)`.
    """
    row = empty_row(n)
    width, first = len(row), first_round(key, row)
    room = int(np.bitwise_count(drawn).sum(dtype=np.int64)) + 1

    def walk(lefts: range) -> NDArray[np.integer]:
        indices = np.empty(min(room, len(lefts) * width), index_type(n))  # unused pages take no memory
        buffers = np.empty_like(row), np.empty(width, np.uint8)
        count = _walk(drawn, n, key, first, lefts.start, lefts.stop, *buffers, indices)
        indices.resize(count, refcheck=False)
        return indices

    threads = thread_count()
    count = 1 if threads == 1 else min(4 * threads, max(n // _STRETCH, 1))
    bounds = [width * stretch // count for stretch in range(count + 1)]
    found = in_threads(walk, list(starmap(range, pairwise(bounds))))
    return found[0] if count == 1 else np.concatenate(found)


@njit(cache=True, nogil=True)
def _walk(
    drawn: NDArray[np.uint8],
    n: int,
    key: np.uint64,
    first: NDArray[np.unsignedinteger],
    begin_left: int,
    end_left: int,
    row: NDArray[np.unsignedinteger],
    is_drawn: NDArray[np.uint8],
    indices: NDArray[np.integer],
) -> int:
    count = 0
    for left in range(begin_left, end_left):
        length = fill_row(left, n, key, first, row)
        _look_up(drawn, row, length, is_drawn)
        for j in range(length):  # write each one, step on where it is drawn: no branch to mispredict
            indices[count] = row[j]
            count += is_drawn[j]
    return count


@njit(cache=True, nogil=True)
def _look_up(
    drawn: NDArray[np.uint8], row: NDArray[np.unsignedinteger], length: int, is_drawn: NDArray[np.uint8]
) -> None:
    """In a loop of its own: nothing waits for the reads, which are all over the memory."""
    for j in range(length):
        i = row[j]
        is_drawn[j] = (drawn[i >> 3] >> (i & 7)) & 1


def by_block(drawn: NDArray[np.uint8], n: int, key: np.uint64, block: int) -> NDArray[np.integer]:
    """Return the drawn examples of 0..n-1 in a random order of blocks, and inside each in ascending order.

    For data larger than memory: a run of this order needs few pages of a file; see `plan.EpochPlan.shard`.

    Args:
        drawn: (ceil(n / 8),) packed bits, which of 0..n-1 are drawn.
        n: examples in all.
        key: of the random numbers, from `stream_key`.
        block: examples in a block, at least 1; the last block may have fewer.

    Returns:
        Their indices, `index_type(n)`.
    """
    indices = np.empty(int(np.bitwise_count(drawn).sum(dtype=np.int64)), index_type(n))
    order = np.argsort(_bits_of(key, -(-n // block)), kind="stable")
    _walk_blocks(drawn, n, order, block, indices)
    return indices


@njit(cache=True, nogil=True)
def _bits_of(key: np.uint64, count: int) -> NDArray[np.uint64]:
    found = np.empty(count, np.uint64)
    for i in range(count):
        found[i] = bits(key, i)
    return found


@njit(cache=True, nogil=True)
def _walk_blocks(
    drawn: NDArray[np.uint8], n: int, order: NDArray[np.int64], block: int, indices: NDArray[np.integer]
) -> None:
    count = 0
    for number in order:
        for i in range(number * block, min((number + 1) * block, n)):
            if (drawn[i >> 3] >> (i & 7)) & 1:
                indices[count] = i
                count += 1
