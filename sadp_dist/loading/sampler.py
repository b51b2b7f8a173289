"""Samplers: the examples of this rank in this epoch, their order and their weights.

A sampler holds the epoch and the shard. Nothing else does.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from sadp_dist.errors import UsageError
from sadp_dist.loading.batch_sizes import BatchIndices, even_sizes, full_sizes
from sadp_dist.loading.epoch_position import EpochPosition, ShardProgress, Taken, shards_after
from sadp_dist.loading.epoch_watch import EpochWatch, called_by, refuse_second_split
from sadp_dist.loading.shard_iterator import ShardIterator, iterate
from sadp_dist.selection.plan import Shard


class ShardSampler(Sampler[int], ABC):
    """One rank's shard of the current epoch, from a position on.

    Args:
        batch_size: the most examples of a batch on this rank.
        rank: the rank, by default that of torch.distributed (0 without a process group).
        world_size: the number of ranks, by default that of torch.distributed (1 without a process group).
    """

    _restore = "give the sampler the data that it had"
    """What to do if the plan of a loaded state is another one now."""

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
        self._loaded: EpochPosition | None = None
        self._resumed = False  # at a position that was loaded, and not read from since
        self._watch: EpochWatch | None = None  # of a sampler to train with

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Go to an epoch, counted from 0.

        After `load_state_dict`, the epoch of that state continues where it was.

        Args:
            epoch: counted from 0.
            start_batch: skip the first `batch_sizes`, to resume within the epoch without a state.
        """
        if epoch < 0:
            raise UsageError(f"epoch={epoch}: must be at least 0")
        loaded = self._loaded
        if loaded is not None and epoch < loaded.epoch:
            raise UsageError(
                f"epoch={epoch}: the state that was loaded is in epoch={loaded.epoch}; continue with that"
            )
        if loaded is not None and epoch == loaded.epoch and start_batch == 0:
            self._continue()
            return
        if self._resumed and epoch == self.epoch and start_batch == 0:
            return  # some loaders call this again
        shard = self._plan(epoch)
        sizes = self._sizes_of(len(shard.indices))
        if not 0 <= start_batch <= len(sizes):
            raise UsageError(
                f"start_batch={start_batch}: must be from 0 to {len(sizes)}, the batches of this rank in "
                f"epoch={epoch}"
            )
        self._loaded = None
        self._enter(shard, int(sizes[:start_batch].sum()))

    def _enter(self, shard: Shard, start: int, taken: Taken = ()) -> None:
        """Go to a position of a shard, which is what earlier jobs left of its epoch."""
        self._shard, self.start = shard, start
        self.progress = ShardProgress(shard, self.rank, self.world_size, taken)
        self._next = self._done = start
        self._passed = self._resumed = False
        self._weights = shard.weights.astype(np.float32)
        self._order: npt.NDArray[np.intp] | None = None

    def _sizes_of(self, examples: int) -> npt.NDArray[np.int64]:
        """Return the sizes of the batches of so many examples."""
        return full_sizes(examples, self.batch_size)

    @abstractmethod
    def _plan(self, epoch: int) -> Shard:
        """Return this rank's shard of an epoch."""

    def _plan_of(self, epoch: int, rank: int, world_size: int) -> Shard:
        """Return the shard of a rank of a job with so many ranks, in the order in which it reads."""
        raise UsageError(
            f"load_state_dict: the state is of {world_size} ranks, but this sampler has {self.world_size}; "
            "both must be the same"
        )

    def _ordered(self, shard: Shard) -> Shard:
        """Return a shard in the order in which a rank reads it."""
        return shard

    # The state

    def state_dict(self) -> dict[str, Any]:
        """Return how far the current epoch is, the same on all ranks but for a checksum; {} before the first.

        An example counts as done once `weights` was called with it, or a `TorchLoader` or `FFCVLoader` has
        handed it out. So call this between two batches. Save the store with it.
        """
        if self._loaded is not None:
            return self._loaded.state_dict()
        if self._shard is None:
            return {}
        return self.progress.position(self._trained_to()).state_dict()

    def _trained_to(self) -> int:
        """Return how far the training loop is in the shard, as far as is known."""
        nothing = self._done == self.start
        return len(self.shard.indices) if nothing and self._passed else self._done

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue an epoch where a sampler was, with the same number of ranks or another one.

        The epoch is entered when it is needed, or by `set_epoch`; load the store before that. If the number
        of ranks is another one, what the other ranks left is split over these. The batch size may change.
        A state at the end of an epoch before the current one changes nothing.

        Args:
            state: from `state_dict`, of any rank; {} changes nothing.

        Raises:
            UsageError: it is not such a state; or, when the epoch is entered, the store's plan is another.
        """
        if not state:
            return
        position = EpochPosition.of(state)
        current = self._loaded or self._shard
        if not (position.is_end and current is not None and current.epoch > position.epoch):
            self._loaded = position

    def _continue(self) -> None:
        """Go to the position that was loaded."""
        position = self._loaded
        assert position is not None
        *earlier, (world_size, start) = position.taken
        taken: Taken = tuple(earlier)
        shard = self._plan(position.epoch)  # first: every rank asks for its own, so that the plan exists
        if taken or world_size != self.world_size:

            def planned(rank: int, of: int) -> Shard:
                return self._plan_of(position.epoch, rank, of)

            theirs = shards_after(taken, world_size, planned, self._ordered)
            position.check(theirs[position.rank], self._restore)
            if world_size == self.world_size:
                shard = theirs[self.rank]
            else:
                taken, start = position.taken, 0
                shard = shards_after(taken, self.world_size, planned, self._ordered)[self.rank]
        elif position.rank == self.rank:
            position.check(shard, self._restore)
        self._loaded = None
        self._enter(shard, min(start, len(shard.indices)), taken)
        self._resumed = True

    # The epoch

    @property
    def shard(self) -> Shard:
        """The whole shard of the current epoch, including skipped batches.

        If a state of a job with another number of ranks was loaded, it is this rank's part of what they left.
        """
        if self._loaded is not None:
            self._continue()
        if self._shard is None:
            raise UsageError("the sampler has no epoch; call sampler.set_epoch(epoch) before each epoch")
        return self._shard

    @property
    def epoch(self) -> int:
        return self.shard.epoch

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Indices left in this epoch, in order; int64 (len(self),)."""
        shard = self.shard  # it may move the start
        return shard.indices[self.start :]

    @property
    def position_weights(self) -> npt.NDArray[np.float32]:
        """The weights of `indices`, position by position; float32 (len(self),)."""
        _ = self.shard
        if self._watch is not None:
            self._watch.weights_read = True
        return self._weights[self.start :].copy()

    @property
    def batch_sizes(self) -> npt.NDArray[np.int64]:
        """Examples of each batch left in this epoch, as the loaders of this package hand them out."""
        return self._sizes_of(len(self.indices))

    @property
    def batches(self) -> int:
        """Batches left in this epoch."""
        return len(self.batch_sizes)

    @property
    def batch_sampler(self) -> BatchIndices:
        """These batches, for `DataLoader(dataset, batch_sampler=sampler.batch_sampler)`."""
        return BatchIndices(self)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> ShardIterator:
        return iterate(self)

    def weights(self, indices: torch.Tensor, trained: bool = True) -> torch.Tensor:
        """Return the weights of examples of this rank's shard; padding has the weight 0.

        Args:
            indices: integers, any shape. On a device, this waits for it.
            trained: whether the examples count as trained on from now. If not, call `mark_trained` later.

        Returns:
            float32, with the same shape and device.

        Raises:
            UsageError: an index is not in this rank's shard of this epoch.
        """
        asked = indices.cpu().numpy()
        places = self._places(asked)
        if trained:
            self._mark(places)
        return torch.from_numpy(self._weights[places].reshape(asked.shape).copy()).to(indices.device)

    def mark_trained(self, indices: torch.Tensor) -> None:
        """Count examples as trained on, whose `weights` were returned before.

        Args:
            indices: as in `weights`.
        """
        self._mark(self._places(indices.cpu().numpy()))

    def begin_pass(self) -> None:
        """Note that a loader begins to read the current epoch."""
        self._done, self._passed, self._resumed = self.start, False, False

    def end_pass(self) -> None:
        """Note that a loader has read the current epoch to its end."""
        self._passed = True
        if self._watch is not None:
            self._watch.end_pass()

    def mark_batch(self, size: int) -> None:
        """Note that a loader hands the next `size` examples to the training loop."""
        self._done += size
        if self._watch is not None:
            self._watch.mark_next(size)

    def _places(self, asked: npt.NDArray[np.integer]) -> slice | npt.NDArray[np.intp]:
        """Return the places of examples in the shard.

        Raises:
            UsageError: an example is not in the shard.
        """
        known = self.shard.indices
        end = self._next + asked.size
        # Loaders keep the sampler's order. Comparing bytes takes a tenth of the time of `np.array_equal`.
        if known[self._next : end].tobytes() == asked.tobytes():
            return slice(self._next, end)
        if self._order is None:
            self._order = np.argsort(known)
        found = np.searchsorted(known, asked, sorter=self._order)
        positions = self._order.take(found, mode="clip") if len(known) else np.zeros(asked.shape, np.intp)
        strange = known.take(positions) != asked if len(known) else np.ones(asked.shape, bool)
        if strange.any():
            stranger = asked[strange].flat[0]
            raise UsageError(
                f"indices: {stranger} is not in the shard of rank {self.rank} in epoch={self.epoch}"
            )
        return positions

    def _mark(self, places: slice | npt.NDArray[np.intp]) -> None:
        """Count places as trained on, and expect the next examples to follow them."""
        if self._watch is not None:
            self._watch.mark(places)
        if isinstance(places, slice):
            self._next = places.stop
        elif places.size:
            self._next = int(places.flat[-1]) + 1
        self._done, self._resumed = self._next, False


class TrainingSampler(ShardSampler):
    """A sampler to train with: batches of nearly equal size, in epochs that are trained on to their ends.

    Args:
        batch_size: the most examples of a batch on this rank.
        rank: the rank, by default that of torch.distributed.
        world_size: the number of ranks, by default that of torch.distributed.
        accumulate: batches in an optimizer step.
    """

    def __init__(
        self,
        batch_size: int,
        rank: int | None = None,
        world_size: int | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        if accumulate < 1:
            raise UsageError(f"accumulate={accumulate}: must be at least 1")
        self.accumulate = accumulate
        self._told: set[str] = set()

    def _sizes_of(self, examples: int) -> npt.NDArray[np.int64]:
        return even_sizes(examples, self.batch_size, self.accumulate)

    @property
    def step_sizes(self) -> npt.NDArray[np.int64]:
        """Examples of each optimizer step left, over all ranks and without padding; int64 (steps,)."""
        sizes = self.batch_sizes
        of_rank = np.add.reduceat(sizes, np.arange(0, len(sizes), self.accumulate)) if len(sizes) else sizes
        before = self.progress.taken_before + self.world_size * self.start
        ends = before + self.world_size * np.cumsum(of_rank)
        left: npt.NDArray[np.int64] = np.diff(np.minimum(np.append(before, ends), self.shard.drawn))
        return left

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        skipped, past = self._loaded, self._watch
        super().set_epoch(epoch, start_batch)
        if past is not None and past.shard.epoch < epoch:
            for kind, said in self._problems_of(past):
                self._tell(kind, said)
        if skipped is not None and skipped.epoch < epoch and skipped.left:
            self._tell(
                "left",
                f"epoch={skipped.epoch} of the state that was loaded has {skipped.left} of {skipped.size} "
                f"examples of each rank left, which epoch={epoch} leaves out; call "
                f"set_epoch({skipped.epoch}) first",
            )

    def _problems_of(self, past: EpochWatch) -> Iterator[tuple[str, str | None]]:
        """Yield the kinds of problems of an epoch that is over, with the warning of each that there is."""
        yield "trained", past.untrained()

    def _enter(self, shard: Shard, start: int, taken: Taken = ()) -> None:
        super()._enter(shard, start, taken)
        self._watch = EpochWatch(shard, start, self.batch_size, self.world_size)

    def _trained_to(self) -> int:
        if self._watch is None or self._watch.is_unmarked():
            return super()._trained_to()
        return self._watch.first_untrained()

    def state_dict(self) -> dict[str, Any]:
        theirs = called_by("torchdata.")  # which has the state of the iterator, too
        if not theirs and self._loaded is None and self._watch is not None and self._watch.is_unknown():
            self._tell(
                "position",
                f"state_dict: sampler.weights(index) was not called in epoch={self.epoch}, so nobody knows "
                "which examples were trained on; this state is the beginning of the epoch. Call it for each "
                "batch, or use a TorchLoader, an FFCVLoader or torchdata's StatefulDataLoader",
            )
        return super().state_dict()

    def begin_pass(self) -> None:
        super().begin_pass()
        if self._watch is not None:
            self._tell("read again", self._watch.begin_pass())

    def __iter__(self) -> ShardIterator:
        refuse_second_split(resumed=self._loaded is not None or (self._shard is not None and self.start > 0))
        return super().__iter__()

    def _tell(self, kind: str, said: str | None) -> None:
        """Warn once of each kind."""
        if said is not None and kind not in self._told:
            self._told.add(kind)
            warnings.warn(said, stacklevel=3)


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
