"""Random numbers that depend on (seed, epoch, stream, index) alone: any example's, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


class Stream(IntEnum):
    """What a random number is for; numbers of different streams are independent."""

    DRAW = 0
    START = 1
    SPREAD = 2
    SHUFFLE = 3
    RUN = 4


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
