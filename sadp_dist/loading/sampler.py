"""Which examples this rank sees in this epoch, in which order and with which weight.

A loader asks its sampler once an epoch. The sampler holds the epoch and the shard; nothing else does.
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
from sadp_dist.selection.sharding import Shard

if TYPE_CHECKING:
    from sadp_dist.store import Store

CHUNK = 4096
"""Indices that are Python integers at a time: a list of a whole shard takes 36 bytes for each."""


class ShardSampler(Sampler[int], ABC):
    """One rank's shard of the current epoch, from batch `start_batch` on.

    Args:
        batch_size: examples per batch on this rank.
        rank: as in torch.distributed, and from there when left out (0 without a process group).
        world_size: likewise (1 without a process group).
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
        """Go to an epoch, counted from 0; with `start_batch`, past so many of its batches, to resume in
        it."""
        if epoch < 0:
            raise UsageError(f"epoch={epoch}: must be at least 0")
        shard = self._plan(epoch)
        batches = -(-len(shard.indices) // self.batch_size)
        if not 0 <= start_batch <= batches:
            raise UsageError(
                f"start_batch={start_batch}: epoch {epoch} has batches 0 to {batches} on this rank"
            )
        self._shard = shard
        self._start = self._next = min(start_batch * self.batch_size, len(shard.indices))
        self._weights = shard.weights.astype(np.float32)
        self._order: npt.NDArray[np.intp] | None = None

    @abstractmethod
    def _plan(self, epoch: int) -> Shard:
        """This rank's shard of an epoch."""

    @property
    def shard(self) -> Shard:
        """The whole shard of the current epoch, whatever `start_batch` is."""
        if self._shard is None:
            raise UsageError("the sampler has no epoch yet: call sampler.set_epoch(epoch) before each epoch")
        return self._shard

    @property
    def epoch(self) -> int:
        return self.shard.epoch

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Indices still to come in this epoch, in order; int64 (len(self),)."""
        return self.shard.indices[self._start :]

    @property
    def position_weights(self) -> npt.NDArray[np.float32]:
        """The weights of `indices`, position by position; float32 (len(self),)."""
        return self._weights[self._start :].copy()

    @property
    def batches(self) -> int:
        """Batches still to come in this epoch, a last partial one included."""
        return -(-len(self) // self.batch_size)

    def __len__(self) -> int:
        return len(self.shard.indices) - self._start

    def __iter__(self) -> Iterator[int]:
        indices = self.indices
        starts = range(0, len(indices), CHUNK)
        return chain.from_iterable(indices[start : start + CHUNK].tolist() for start in starts)

    def weights(self, indices: torch.Tensor) -> torch.Tensor:
        """The weights of examples of this rank's shard; 0 for one that only fills the shard up.

        Args:
            indices: integers, any shape; on the CPU if nothing is to wait for a device.

        Returns:
            float32, the same shape and device.

        Raises:
            UsageError: an index that this rank does not have in this epoch.
        """
        known, asked = self.shard.indices, indices.cpu().numpy()
        end = self._next + asked.size
        # Loaders keep the sampler's order. Bytes are compared in a tenth of the time of `np.array_equal`.
        if known[self._next : end].tobytes() == asked.tobytes():
            weights = self._weights[self._next : end].reshape(asked.shape).copy()
            self._next = end
        else:
            weights = self._weights.take(self._positions(asked))
        return torch.from_numpy(weights).to(indices.device)

    def _positions(self, asked: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
        """Where some examples are in the shard; what is asked for next is looked for behind the last of them.

        Raises:
            UsageError: one is not in it.
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
    """The examples that a store's plan keeps this epoch, for the loaders here or a plain torch `DataLoader`.

    Every rank of a run makes one with the same `batch_size`, and calls `set_epoch` before each epoch; that
    is where it waits for the other ranks. All ranks get the same number of examples; where the subset does
    not divide evenly, a rank repeats another's example with weight 0.

    Args:
        store: what `sadp_dist.connect` returned.
        batch_size: examples per batch on this rank.
        rank: as in torch.distributed, from where it comes when left out.
        world_size: likewise.
        page_order: for data larger than memory, the order of this rank's examples instead of the plan's.

    Raises:
        UsageError: from `set_epoch`, where the order is of another number of examples than the store's.
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
                f"page_order: has the pages of {pages} examples, the store has {shard.dataset_size}"
            )
        order = self._page_order.order(shard.indices, epoch)
        return replace(shard, indices=shard.indices[order], weights=shard.weights[order])


class SequentialShard(ShardSampler):
    """For evaluation: every example once over all ranks, in order, weight 1. Ranks may differ by one example.

    It starts at epoch 0; calling `set_epoch` is allowed and changes nothing else.
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
