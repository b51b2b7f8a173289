"""Systematic drawing: along the cumulated probabilities in steps of 1, block by block of the data set.

The walk goes through the blocks in ascending order, and through each in a random order of its own; with
strata it does so for one stratum after the other. Sums are kept modulo 1, as integers in units of 2^-62: such
sums are exact in any order, so that no drift over millions of terms can add or lose an example, and each
thread can walk its own stretch once the sums of those before it are known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.order import fill_row, first_round
from sadp_dist.selection.random import bits

_UNIT = 2.0**62
_FRACTION = np.uint64(2**62 - 1)


@njit(cache=True, nogil=True)
def add_steps(p: NDArray[np.float64], sums: NDArray[np.uint64]) -> None:
    """Add probabilities to sums[0]."""
    total = np.uint64(0)
    for q in p:
        total += np.uint64(q * _UNIT)
    sums[0] += total


@njit(cache=True, nogil=True)
def add_steps_by_stratum(
    p: NDArray[np.float64], stratum: NDArray[np.int64], sums: NDArray[np.uint64]
) -> None:
    """Add probabilities to the sums of their strata."""
    for i in range(len(p)):
        sums[stratum[i]] += np.uint64(p[i] * _UNIT)


@njit(cache=True, nogil=True)
def walk(
    p: NDArray[np.float64],
    key: np.uint64,
    block: int,
    row: NDArray[np.uint32],
    positions: NDArray[np.uint64],
    drawn: NDArray[np.bool_],
) -> None:
    """Go on from positions[0] through a block; an example that takes the sum past 1 is drawn.

    Reading, adding up and marking are loops of their own, so that the reads wait for nothing.
    """
    steps = np.empty(len(row), np.uint64)
    position, block_key = positions[0], bits(key, block)
    first = first_round(block_key, row)
    for left in range(len(row)):
        length = fill_row(left, len(p), block_key, first, row)
        for j in range(length):
            steps[j] = np.uint64(p[row[j]] * _UNIT)
        for j in range(length):
            position += steps[j]
            steps[j] = position >> np.uint64(62)
            position &= _FRACTION
        for j in range(length):
            drawn[row[j]] = steps[j]
    positions[0] = position


@njit(cache=True, nogil=True)
def walk_strata(
    p: NDArray[np.float64],
    stratum: NDArray[np.int64],
    key: np.uint64,
    block: int,
    row: NDArray[np.uint32],
    positions: NDArray[np.uint64],
    drawn: NDArray[np.bool_],
) -> None:
    """As `walk`, in every stratum from its own position."""
    block_key = bits(key, block)
    first = first_round(block_key, row)
    for left in range(len(row)):
        length = fill_row(left, len(p), block_key, first, row)
        for i in row[:length]:
            position = positions[stratum[i]] + np.uint64(p[i] * _UNIT)
            drawn[i] = position >> np.uint64(62)
            positions[stratum[i]] = position & _FRACTION


def start_positions(sums: NDArray[np.uint64], dataset_size: int, random_bits: int) -> NDArray[np.uint64]:
    """Return where the walk through each stratum begins, (K,).

    Args:
        sums: (K,) of the probabilities in each stratum, in the order of the walk.
        dataset_size: N.
        random_bits: 64 of them, for the one random start.
    """
    ends = np.cumsum(sums, dtype=np.uint64)
    total = int(ends[-1] & _FRACTION) if len(ends) else 0
    return (ends - sums + np.uint64(_start(total, dataset_size, random_bits))) & _FRACTION


def positions_after(
    positions: NDArray[np.uint64], sums: Sequence[NDArray[np.uint64]]
) -> list[NDArray[np.uint64]]:
    """Return where the walk through each of several stretches begins, in each stratum.

    Args:
        positions: where that through the first one does.
        sums: of the probabilities in each stretch.
    """
    begins = [positions]
    for of_stretch in sums[:-1]:
        begins.append((begins[-1] + of_stretch) & _FRACTION)
    return [begin.copy() for begin in begins]  # a walk moves them along


def _start(total: int, dataset_size: int, random_bits: int) -> int:
    """The random start, in [0, 1).

    Where Σ p is whole but for rounding, a start within that rounding of 0 or 1 would give a size one off; it
    is moved to the end of that sliver, of about N 2^-50.

    Args:
        total: Σ p modulo 1.
        dataset_size: N.
        random_bits: 64 of them.
    """
    one = 2**62
    start, rounding = random_bits % one, dataset_size << 12
    if total >= one - rounding:
        return max(start, one - total)
    if total < rounding:
        return min(start, one - 1 - total)
    return start
