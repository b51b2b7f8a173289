"""Batches of nearly equal size, so that no epoch ends with a step on a few examples.

Batch norm keeps the statistics of the last batch for the test, and a step on few examples is noisy. A subset
of any size has a last partial batch, which may have one example.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from sadp_dist.loading.sampler import ShardSampler

PARTS = 8
"""A size is a multiple of an eighth of the full one. So jobs with different numbers of ranks take the same
steps, and few shapes have to be compiled."""


def even_sizes(examples: int, batch_size: int, accumulate: int = 1) -> NDArray[np.int64]:
    """Return the sizes of as few batches as possible, made nearly equal.

    Sizes are multiples of an eighth of `batch_size`, or of its largest divisor below that, and never
    increase; the last one takes up the rest. What is left after some steps has the sizes that follow.

    Args:
        examples: to split.
        batch_size: the largest size.
        accumulate: batches in a step. Steps have nearly equal sizes, and so have the batches of each.

    Returns:
        int64 (batches,); every step has `accumulate` batches, the last one perhaps fewer, of one example.
    """
    if examples == 0:
        return np.empty(0, np.int64)
    unit = accumulate * next(q for q in range(max(batch_size // PARTS, 1), 0, -1) if batch_size % q == 0)
    steps = -(-examples // (accumulate * batch_size))
    units = -(-examples // unit)
    of_each, more = divmod(units, steps)
    sizes = np.full(steps, of_each * unit)
    sizes[:more] += unit
    last = sizes[-1] - (units * unit - examples)
    in_last = last // accumulate + (np.arange(accumulate) < last % accumulate)
    return np.concatenate([np.repeat(sizes[:-1] // accumulate, accumulate), in_last[in_last > 0]])


def full_sizes(examples: int, batch_size: int) -> NDArray[np.int64]:
    """Return the sizes of full batches and a last partial one, int64 (batches,)."""
    full, rest = divmod(examples, batch_size)
    return np.array([batch_size] * full + [rest] * (rest > 0), np.int64)


class BatchIndices(Sampler[list[int]]):
    """The batches of a sampler's current epoch: a `batch_sampler` for torch's `DataLoader`.

    Args:
        sampler: whose examples and batch sizes it has.
    """

    def __init__(self, sampler: ShardSampler) -> None:
        self.sampler, self.batch_size = sampler, sampler.batch_size

    def __len__(self) -> int:
        return self.sampler.batches

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        for size in self.sampler.batch_sizes.tolist():
            yield list(islice(indices, size))
        next(indices, None)  # so that it notes the end of the pass
