"""Notices an epoch that a training loop did not train on as planned, and says so in one line."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import Shard

_SPLITTERS = ("BatchSamplerShard.", "DataLoaderDispatcher.")
"""Classes of Accelerate that deal a loader's batches out to the ranks."""
_SKIPPERS = ("SkipBatchSampler.", "SkipDataLoader.")
"""Classes of Accelerate that leave out the first batches of a loader."""


class EpochWatch:
    """Marks the examples of a shard whose weights the training loop gets.

    Args:
        shard: this rank's shard of the epoch.
        start: position of the first example to train on.
        batch_size: examples per batch on this rank.
        world_size: number of ranks.

    Attributes:
        weights_read: the loop takes the weights by position, so nobody knows what it trains on.
    """

    def __init__(self, shard: Shard, start: int, batch_size: int, world_size: int) -> None:
        self.shard, self.start = shard, start
        self.weights_read = False
        self._batch_size, self._world_size = batch_size, world_size
        self._trained = np.zeros(len(shard.indices), bool)
        self._next = start
        self._passes = 0
        self._finished = False

    def mark(self, positions: slice | npt.NDArray[np.intp]) -> None:
        """Mark positions of the shard."""
        self._trained[positions] = True

    def mark_next(self, count: int) -> None:
        """Mark the next examples of a loader that keeps the order."""
        self._trained[self._next : self._next + count] = True
        self._next += count

    def begin_pass(self) -> str | None:
        """Note that a loader begins to read the epoch; return what to warn of."""
        self._passes += 1
        self._next = self.start
        if self._finished or np.count_nonzero(self._trained) > self._batch_size:
            return (
                f"epoch={self.shard.epoch} is read again: each pass has the same {self._left} examples; call "
                "sampler.set_epoch(epoch) before each epoch"
            )
        return None

    def end_pass(self) -> None:
        """Note that a loader has read all."""
        self._finished = True

    def is_unknown(self) -> bool:
        """Return whether a loader is within the epoch, and nobody said what was trained on."""
        return self._passes > 0 and not self._finished and self._left > 0 and self.is_unmarked()

    def is_unmarked(self) -> bool:
        """Return whether no example of the epoch is known to be trained on."""
        return not self._trained.any()

    def first_untrained(self) -> int:
        """Return the first position from the start on that was not trained on; the size if all were."""
        untrained = np.flatnonzero(~self._trained[self.start :])
        return self.start + int(untrained[0]) if untrained.size else len(self._trained)

    @property
    def trained(self) -> npt.NDArray[np.int64]:
        """Examples that the loop trained on, as far as is known, without padding; empty if none was read."""
        examples = self.shard.weights > 0
        if not self.is_unmarked():
            examples &= self._trained
        elif self._passes or self.weights_read:
            examples[: self.start] = False
        else:
            examples[:] = False
        return self.shard.indices[examples]

    def untrained(self) -> str | None:
        """Return what to say of an epoch that was not trained on to its end."""
        left, trained, epoch = (
            self._left,
            int(np.count_nonzero(self._trained[self.start :])),
            self.shard.epoch,
        )
        if trained == left or (trained == 0 and not self._passes):
            return None
        if trained > 0:
            cause = self._cause(trained)
            return f"epoch={epoch}: this rank trained on {trained} of its {left} examples; {cause}"
        if self.weights_read or (self.shard.weights == 1).all():
            return None
        return (
            f"epoch={epoch}: sampler.weights(index) was called for 0 of {left} examples; multiply each loss "
            "by its weight, or the network trains on another distribution"
        )

    @property
    def _left(self) -> int:
        return len(self._trained) - self.start

    def _cause(self, trained: int) -> str:
        left, size, ranks = self._left, self._batch_size, self._world_size
        if ranks > 1 and abs(trained * ranks - left) < ranks * size:
            return "the loader was probably split over the ranks again; the sampler has this rank's share"
        if left - trained == left % size:
            return "this is the last partial batch: use drop_last=False"
        return "the loop probably ended early, and leaves out examples that the weights count on"


def called_by(package: str) -> bool:
    """Return whether a module whose name begins so calls the function that calls this."""
    return str(sys._getframe(2).f_globals.get("__name__")).startswith(package)


def refuse_second_split(resumed: bool) -> None:
    """Refuse to be read by a loader of Accelerate that leaves out a part of the epoch again.

    Args:
        resumed: the sampler begins within the epoch.

    Raises:
        UsageError: `prepare` has split the loader, or `skip_first_batches` skips what was skipped already.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_qualname
        if name.startswith(_SPLITTERS):
            raise UsageError(
                "accelerator.prepare() splits this loader over the ranks, but the sampler has this rank's "
                "share already; instead of it, call accelerate.data_loader.prepare_data_loader(loader, "
                "accelerator.device, num_processes=1, process_index=0, put_on_device=True)"
            )
        if resumed and name.startswith(_SKIPPERS):
            raise UsageError(
                "accelerate.skip_first_batches() skips batches again: the sampler already begins where its "
                "loaded state was; use the loader itself"
            )
        frame = frame.f_back  # type: ignore[assignment]
