"""Batches as torch's `DataLoader` makes them, with the index of every example beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from sadp_dist.errors import UsageError
from sadp_dist.loading.sampler import ShardSampler

_PLANNED = {
    "sampler": "the plan of each epoch is its sampler",
    "batch_sampler": "the plan of each epoch is its sampler; give batch_size",
    "shuffle": "the plan of each epoch has an order of its own",
}
"""Arguments of DataLoader that choose examples or their order, with the reason to refuse them."""


def refuse_other_datasets(dataset: Any) -> None:
    """Refuse a dataset whose examples have no index.

    Raises:
        UsageError: it is not map-style, or its length is unknown.
    """
    if isinstance(dataset, IterableDataset) or not all(
        hasattr(dataset, name) for name in ("__getitem__", "__len__")
    ):
        raise UsageError(
            f"dataset: {type(dataset).__name__} is not map-style; pruning needs a dataset with __getitem__ "
            "and __len__"
        )


def indexed_loader(dataset: Any, sampler: ShardSampler, options: dict[str, Any]) -> DataLoader[Any]:
    """Return a loader of (index, batch).

    `index` is int64 (B,) on the CPU. `batch` is what `DataLoader(dataset, **options)` would make of these
    examples: through `__getitems__` if the dataset has it, and through `collate_fn` if one is given.

    Args:
        dataset: map-style.
        sampler: whose examples are read, with its batch size.
        options: other arguments of `DataLoader`.

    Raises:
        UsageError: an argument chooses examples or their order, which the sampler does.
    """
    for name, reason in _PLANNED.items():
        if name in options:
            raise UsageError(f"{name}={options[name]!r}: {reason}; leave {name} out")
    if options.pop("drop_last", False):
        raise UsageError(
            "drop_last=True: it leaves out examples that the weights count on; leave it out, the batches of "
            "an epoch have nearly equal sizes"
        )
    if not options.get("in_order", True):
        raise UsageError("in_order=False: the weights follow the order of the plan; leave in_order out")
    collate = _IndexedCollate(options.pop("collate_fn", None) or default_collate)
    return DataLoader(
        _IndexedDataset(dataset), batch_sampler=sampler.batch_sampler, collate_fn=collate, **options
    )


class _Examples(NamedTuple):
    """Examples as the dataset returned them, with their indices."""

    indices: list[int]
    examples: Sequence[Any]


class _IndexedDataset(Dataset[_Examples]):
    """Reads the examples of a batch as `DataLoader` does, and keeps their indices.

    Attributes:
        dataset: as the user gave it; a `worker_init_fn` finds it in `get_worker_info().dataset.dataset`.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: list[int]) -> _Examples:
        several = getattr(self.dataset, "__getitems__", None)
        return _Examples(indices, several(indices) if several else [self.dataset[i] for i in indices])


class _IndexedCollate:
    """Makes (index, batch) of examples, with the user's function for the batch."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self._collate = collate

    def __call__(self, read: Any) -> tuple[Tensor, Any]:
        assert isinstance(read, _Examples)  # not a list of examples, as DataLoader's type says
        return torch.tensor(read.indices), self._collate(read.examples)


class BatchLoader:
    """The batches of an indexed loader without their indices; those of the latest batch are in `index`.

    Args:
        loader: from `indexed_loader`.
        before: called when a pass over the loader begins; may refuse it.

    Attributes:
        dataset: the dataset, as it was given.
        batch_size: the most examples of a batch on this rank.
        index: int64 (B,), the examples of the batch that was handed out last; None outside of a pass.
        unused: batches handed out since `unused` was set to 0.
        finished: whether the latest pass has handed out its last batch and was asked for another.
    """

    def __init__(self, loader: DataLoader[Any], before: Callable[[], None]) -> None:
        self._loader, self._before = loader, before
        self.dataset = loader.dataset.dataset  # type: ignore[attr-defined]
        self.batch_size = loader.batch_sampler.batch_size  # type: ignore[union-attr]
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget the latest batch."""
        self.index: Tensor | None = None
        self.unused = 0
        self.finished = False

    def __len__(self) -> int:
        """Return the number of batches left in the current epoch."""
        self._before()
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        self._before()
        self.begin_epoch()
        for index, batch in self._loader:
            self.index = index
            self.unused += 1
            yield batch
        self.index, self.finished = None, True
