"""Samplers: the examples of this rank in this epoch, their order and their weights.

A sampler holds the epoch and the shard. Nothing else does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from sadp_dist.errors import UsageError
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
            self._next = end
        else:
            weights = self._weights.take(self._positions(asked))
        return torch.from_numpy(weights).to(indices.device)

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

    Args:
        store: the store, from `sadp_dist.connect`.
        batch_size: examples per batch on this rank.
        rank: the rank, by default that of torch.distributed.
        world_size: the number of ranks, by default that of torch.distributed.
        page_order: for data larger than memory, an order that replaces the plan's order on this rank.

    Raises:
        UsageError: from `set_epoch`, if the page order and the store have different numbers of examples.
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
