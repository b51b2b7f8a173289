"""The sampler of a pruned run: what the store's plan keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from sadp_dist.errors import UsageError
from sadp_dist.loading.epoch_watch import EpochWatch
from sadp_dist.loading.page_order import PageOrder
from sadp_dist.loading.sampler import TrainingSampler
from sadp_dist.selection.plan import Shard

if TYPE_CHECKING:
    from sadp_dist.store import Store


class PruningSampler(TrainingSampler):
    """The examples that the store's plan keeps in an epoch, for these loaders or torch's `DataLoader`.

    Create one on every rank, with the same `batch_size`, and call `set_epoch` before each epoch. It waits for
    the other ranks. All ranks get the same number of examples. If the subset does not divide evenly, shards
    have padding: a repeated example with weight 0.

    `set_epoch` warns, once, of a past epoch that was not trained on to its end, or whose scores were not
    pushed. Reading an epoch again without `set_epoch` is a warning, too.

    Args:
        store: the store, from `sadp_dist.connect`.
        batch_size: the most examples of a batch on this rank. The batches of an epoch have nearly equal sizes
            (see `batch_sizes`) with a loader of this package, or with
            `DataLoader(dataset, batch_sampler=sampler.batch_sampler)`.
        rank: the rank, by default that of torch.distributed.
        world_size: the number of ranks, by default that of torch.distributed.
        page_order: for data larger than memory, an order that replaces the plan's order on this rank.
        accumulate: batches in an optimizer step; the steps have nearly equal sizes, too.

    Raises:
        UsageError: from `set_epoch`, if the page order and the store have different numbers of examples, the
            ranks have different batch sizes, or the epoch is over; when read, if Accelerate's `prepare` has
            split the loader again.
    """

    _restore = "load the store that was saved with it"

    def __init__(
        self,
        store: Store,
        batch_size: int,
        rank: int | None = None,
        world_size: int | None = None,
        page_order: PageOrder | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(batch_size, rank, world_size, accumulate)
        self._store = store
        self._page_order = page_order
        self._same_batch_size = False

    def _problems_of(self, past: EpochWatch) -> Iterator[tuple[str, str | None]]:
        yield from super()._problems_of(past)
        yield "pushed", self._unpushed(past)

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
        batches = (len(self._sizes_of(ceil(size / self.world_size))) for size in sizes)
        return sum(ceil(count / accumulate) for count in batches)

    def _unpushed(self, past: EpochWatch) -> str | None:
        examples = past.trained
        epoch, pushed = past.shard.epoch, self._store.pushed(past.shard.epoch, examples, self.world_size)
        if pushed >= len(examples):
            return None
        return (
            f"epoch={epoch}: the store got scores of {pushed} of the {len(examples)} examples that this rank "
            "trained on; call store.push(index, scores, epoch=sampler.epoch) after each backward pass"
        )

    def _plan(self, epoch: int) -> Shard:
        if not self._same_batch_size:
            self._store.same_on_ranks("set_epoch", "batch_size", self.batch_size)
            self._same_batch_size = True
        return self._plan_of(epoch, self.rank, self.world_size)

    def _plan_of(self, epoch: int, rank: int, world_size: int) -> Shard:
        return self._ordered(self._store.plan(epoch=epoch, rank=rank, world_size=world_size))

    def _ordered(self, shard: Shard) -> Shard:
        if self._page_order is None:
            return shard
        pages = len(self._page_order.pages)
        if pages != shard.dataset_size:
            raise UsageError(
                f"page_order: has the pages of {pages} examples, but the store has "
                f"{shard.dataset_size} examples"
            )
        order = self._page_order.order(shard.indices, shard.epoch)
        return replace(shard, indices=shard.indices[order], weights=shard.weights[order])
