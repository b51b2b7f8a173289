"""Samplers: the examples of this rank in this epoch, their order and their weights.

A sampler holds the epoch and the shard. Nothing else does.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from sadp_dist.errors import UsageError
from sadp_dist.loading.epoch_watch import EpochWatch, refuse_second_split
from sadp_dist.loading.page_order import PageOrder
from sadp_dist.selection.plan import Shard

if TYPE_CHECKING:
    from sadp_dist.store import Store

CHUNK = 4096
"""Indices converted to Python integers at a time. A list of the whole shard would take 36 bytes per index."""


class ShardSampler(Sampler[int], ABC):
    """One rank's shard of the current epoch, from batch `start_batch` on.

    Args:
        batch_size: examples per batch on this rank.
        rank: the rank, by default that of torch.distributed (0 without a process group).
        world_size: the number of ranks, by default that of torch.distributed (1 without a process group).
    """

    def __init__(self, batch_size: int, rank: int | None = None, world_size: int | None = None) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        self.batch_size = batch_size
        self.rank = rank if rank is not None else dist.get_rank() if grouped else 0
        self.world_size = world_size if world_size is not None else dist.get_world_size() if grouped else 1
        if batch_size < 1:
            raise UsageError(f"batch_size={batch_size}: must be at least 1")
        if not 0 <= self.rank < self.world_size:
            raise UsageError(f"rank={self.rank}: must be from 0 to world_size - 1 = {self.world_size - 1}")
        self._shard: Shard | None = None
        self._start = 0
        self._watch: EpochWatch | None = None  # of a sampler to train with

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Go to an epoch, counted from 0. `start_batch` skips its first batches, to resume within it."""
        if epoch < 0:
            raise UsageError(f"epoch={epoch}: must be at least 0")
        shard = self._plan(epoch)
        batches = -(-len(shard.indices) // self.batch_size)
        if not 0 <= start_batch <= batches:
            raise UsageError(
                f"start_batch={start_batch}: must be from 0 to {batches}, the batches of this rank in "
                f"epoch {epoch}"
            )
        self._shard = shard
        self._start = self._next = min(start_batch * self.batch_size, len(shard.indices))
        self._weights = shard.weights.astype(np.float32)
        self._order: npt.NDArray[np.intp] | None = None

    @abstractmethod
    def _plan(self, epoch: int) -> Shard:
        """Return this rank's shard of an epoch."""

    @property
    def shard(self) -> Shard:
        """The whole shard of the current epoch, including skipped batches."""
        if self._shard is None:
            raise UsageError("the sampler has no epoch; call sampler.set_epoch(epoch) before each epoch")
        return self._shard

    @property
    def epoch(self) -> int:
        return self.shard.epoch

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Indices left in this epoch, in order; int64 (len(self),)."""
        return self.shard.indices[self._start :]

    @property
    def position_weights(self) -> npt.NDArray[np.float32]:
        """The weights of `indices`, position by position; float32 (len(self),)."""
        if self._watch is not None:
            self._watch.weights_read = True
        return self._weights[self._start :].copy()

    @property
    def batches(self) -> int:
        """Batches left in this epoch, including a last partial one."""
        return -(-len(self) // self.batch_size)

    def __len__(self) -> int:
        return len(self.shard.indices) - self._start

    def __iter__(self) -> Iterator[int]:
        indices = self.indices
        starts = range(0, len(indices), CHUNK)
        return chain.from_iterable(indices[start : start + CHUNK].tolist() for start in starts)

    def weights(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the weights of examples of this rank's shard; padding has the weight 0.

        Args:
            indices: integers, any shape. On a device, this waits for it.

        Returns:
            float32, with the same shape and device.

        Raises:
            UsageError: an index is not in this rank's shard of this epoch.
        """
        known, asked = self.shard.indices, indices.cpu().numpy()
        end = self._next + asked.size
        # Loaders keep the sampler's order. Comparing bytes takes a tenth of the time of `np.array_equal`.
        if known[self._next : end].tobytes() == asked.tobytes():
            weights = self._weights[self._next : end].reshape(asked.shape).copy()
            if self._watch is not None:
                self._watch.mark(slice(self._next, end))
            self._next = end
        else:
            positions = self._positions(asked)
            if self._watch is not None:
                self._watch.mark(positions)
            weights = self._weights.take(positions)
        return torch.from_numpy(weights).to(indices.device)

    def begin_pass(self) -> None:
        """Note that a loader begins to read the current epoch."""

    def mark_batch(self, size: int) -> None:
        """Note that a loader hands the next `size` examples to the training loop."""
        if self._watch is not None:
            self._watch.mark_next(size)

    def _positions(self, asked: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
        """Return the positions of examples in the shard, and expect the next call to continue there.

        Raises:
            UsageError: an example is not in the shard.
        """
        known = self.shard.indices
        if self._order is None:
            self._order = np.argsort(known)
        found = np.searchsorted(known, asked, sorter=self._order)
        positions = self._order.take(found, mode="clip") if len(known) else np.zeros(asked.shape, np.intp)
        strange = known.take(positions) != asked if len(known) else np.ones(asked.shape, bool)
        if strange.any():
            stranger = asked[strange].flat[0]
            raise UsageError(
                f"indices: {stranger} is not in the shard of rank {self.rank} in epoch {self.epoch}"
            )
        if asked.size:
            self._next = int(positions.flat[-1]) + 1
        return positions


class PruningSampler(ShardSampler):
    """The examples that the store's plan keeps in an epoch, for these loaders or torch's `DataLoader`.

    Create one on every rank, with the same `batch_size`, and call `set_epoch` before each epoch. It waits for
    the other ranks. All ranks get the same number of examples. If the subset does not divide evenly, shards
    have padding: a repeated example with weight 0.

    `set_epoch` warns, once, of a past epoch that was not trained on to its end, or whose scores were not
    pushed. Reading an epoch again without `set_epoch` is a warning, too.

    Args:
        store: the store, from `sadp_dist.connect`.
        batch_size: examples per batch on this rank.
        rank: the rank, by default that of torch.distributed.
        world_size: the number of ranks, by default that of torch.distributed.
        page_order: for data larger than memory, an order that replaces the plan's order on this rank.

    Raises:
        UsageError: from `set_epoch`, if the page order and the store have different numbers of examples, the
            ranks have different batch sizes, or the epoch is over; when read, if Accelerate's `prepare` has
            split the loader again.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        rank: int | None = None,
        world_size: int | None = None,
        page_order: PageOrder | None = None,
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        self._store = store
        self._page_order = page_order
        self._same_batch_size = False
        self._told: set[str] = set()

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        if not self._same_batch_size:
            self._store.same_on_ranks("set_epoch", "batch_size", self.batch_size)
            self._same_batch_size = True
        past = self._watch
        super().set_epoch(epoch, start_batch)
        self._watch = EpochWatch(self.shard, self._start, self.batch_size, self.world_size)
        if past is not None and past.shard.epoch < epoch:
            self._tell("trained", past.untrained())
            self._tell("pushed", self._unpushed(past))

    def total_batches(self, epochs: int | None = None, accumulate: int = 1) -> int:
        """Return the batches of this rank in the first epochs of the run, for a schedule over steps.

        The number is exact for rules that keep a share given in advance, with `scheme="systematic"`. It is
        an estimate for `scheme="bernoulli"`, and for rules that decide by the scores how much they keep.

        Args:
            epochs: from the start of the run; by default all.
            accumulate: batches in an optimizer step; the result is then the number of steps. The last step
                of an epoch may have fewer.

        Raises:
            UsageError: the run has fewer epochs, or an argument is below 1.
        """
        if accumulate < 1:
            raise UsageError(f"accumulate={accumulate}: must be at least 1")
        sizes = self._store.planned_sizes(epochs)
        batches = (ceil(ceil(size / self.world_size) / self.batch_size) for size in sizes)
        return sum(ceil(count / accumulate) for count in batches)

    def begin_pass(self) -> None:
        if self._watch is not None:
            self._tell("read again", self._watch.begin_pass())

    def __iter__(self) -> Iterator[int]:
        refuse_second_split()
        indices = super().__iter__()
        self.begin_pass()
        return indices if self._watch is None else chain(indices, self._watch.end_pass())

    def _unpushed(self, past: EpochWatch) -> str | None:
        examples = past.trained
        epoch, pushed = past.shard.epoch, self._store.pushed(past.shard.epoch, examples, self.world_size)
        if pushed >= len(examples):
            return None
        return (
            f"epoch {epoch}: the store got scores of {pushed} of the {len(examples)} examples that this rank "
            "trained on; call store.push(index, scores, epoch=sampler.epoch) after each backward pass"
        )

    def _tell(self, kind: str, said: str | None) -> None:
        """Warn once of each kind."""
        if said is not None and kind not in self._told:
            self._told.add(kind)
            warnings.warn(said, stacklevel=3)

    def _plan(self, epoch: int) -> Shard:
        shard = self._store.plan(epoch=epoch, rank=self.rank, world_size=self.world_size)
        if self._page_order is None:
            return shard
        pages = len(self._page_order.pages)
        if pages != shard.dataset_size:
            raise UsageError(
                f"page_order: has the pages of {pages} examples, but the store has "
                f"{shard.dataset_size} examples"
            )
        order = self._page_order.order(shard.indices, epoch)
        return replace(shard, indices=shard.indices[order], weights=shard.weights[order])


class SequentialShard(ShardSampler):
    """For evaluation: every example once over all ranks, in order, with weight 1.

    The shards of two ranks may differ by one example. The sampler starts at epoch 0. `set_epoch` changes the
    epoch's number only.
    """

    def __init__(
        self, size: int, batch_size: int, rank: int | None = None, world_size: int | None = None
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        if size < 0:
            raise UsageError(f"size={size}: must be at least 0")
        self._size = size
        self.set_epoch(0)

    def _plan(self, epoch: int) -> Shard:
        first, last = (rank * self._size // self.world_size for rank in (self.rank, self.rank + 1))
        return Shard(
            indices=np.arange(first, last, dtype=np.int64),
            weights=np.ones(last - first),
            subset_size=self._size,
            dataset_size=self._size,
            ratio=0.0,
            epoch=epoch,
            drawn=self._size,
        )
