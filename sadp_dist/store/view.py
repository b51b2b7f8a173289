"""What every store can do, wherever it lives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.selection.sharding import Shard
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.store.engine.stats import StoreStats

if TYPE_CHECKING:
    import torch

    Array = torch.Tensor | NDArray[Any]

__all__ = ["ReadOnlyStore", "Store", "StoreUnavailable", "on_host"]


def on_host(indices: Array) -> Any:
    """Indices to ask about, on the CPU, whichever device they are on."""
    return indices.cpu() if hasattr(indices, "cpu") else indices


class Store(ABC):
    """The scores of one run: pushed by every rank, planned from once an epoch, asked about at any time.

    A home (the embedded store, a server) moves bytes and keeps an `Engine` alive; what the answers are is the
    engine's business alone, so every home gives the same ones.
    """

    @abstractmethod
    def push(self, indices: Array, scores: Array, epoch: int, valid: Array | None = None) -> None:
        """Hand over scores from the backward passes of an epoch.

        Any number of times, from any rank, in any order; a repeat does no harm: an example keeps the score of
        its latest epoch, the largest if that epoch gave several. Never waits for a device: a fault that shows
        only once the scores have come from a GPU is raised by the next `push`, `flush` or `plan`.

        Args:
            indices: (n,) integers in [0, N), tensor on any device or array.
            scores: (n,) real numbers, finite and >= 0, tensor on any device or array.
            epoch: the epoch they belong to, from 0.
            valid: (n,) bool, tensor on any device or array; rows that are False are left out unseen. Rows of
                coefficient 0 have no score, nor has an AMP step that overflowed.

        Raises:
            UsageError: something is wrong with an argument; nothing of this push is stored.
        """

    @abstractmethod
    def plan(self, epoch: int, rank: int | None = None, world_size: int | None = None) -> Shard:
        """The examples of an epoch for one rank, with their weights.

        Made once an epoch from the scores pushed before, then the same for every rank, world size and retry.
        Waits until every rank of the job has asked.

        Args:
            epoch: 0 <= epoch < K.
            rank: whose shard, 0 <= rank < world_size; by default torch.distributed's, 0 without it.
            world_size: number of shards; by default torch.distributed's, 1 without it.

        Raises:
            UsageError: an argument out of its range; or the epoch is over, in a store that outlives its jobs.
            StoreUnavailable: the store or a rank was waited for in vain.
        """

    @abstractmethod
    def flush(self) -> None:
        """Return once every push so far is stored, of all ranks; every rank calls it.

        Raises:
            UsageError: a push that could not be looked at earlier was wrong.
        """

    @abstractmethod
    def record(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Keep what training measured in an epoch, for those who watch the run; see `history`.

        One rank calls it, rank 0 under torchrun with "memory:". Like scores the figures go out in a thread,
        and nothing waits for the store. What is recorded of an epoch replaces what was recorded of it before.

        Args:
            epoch: 0 <= epoch < K.
            figures: finite numbers by name, such as loss and test_accuracy; 64 at most. A name is a letter,
                then letters, digits and _ . / -, 48 characters at most.

        Raises:
            UsageError: something is wrong with an argument; nothing of it is kept.
        """

    @abstractmethod
    def history(self) -> list[EpochRecord]:
        """Every epoch planned so far, oldest first: its plan and scores in figures, and what was recorded."""

    @abstractmethod
    def classes(self) -> ClassFigures | None:
        """How much of each class the latest plan has drawn, and the mean of its scores.

        None where the run has no labels, or more than 65,536 classes.
        """

    @abstractmethod
    def stats(self) -> StoreStats:
        """Figures about the run as it stands."""

    @abstractmethod
    def top(
        self, k: int, lowest: bool = False, by: str = "score"
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k examples of highest score (or lowest), best first; or those whose score has changed most.

        Args:
            k: how many.
            lowest: the other end of the order.
            by: "score"; or "change", an example's score less the one of the epoch it was scored in before.
                Those are ordered by their size, and come with their sign.

        Returns:
            Indices and values, both (min(k, n),) of the n examples that have one: a score, or scores of two
            epochs. Equal ones come in the order of their indices.

        Raises:
            UsageError: k < 0, or `by` is not known.
        """

    @abstractmethod
    def scores(self, indices: Array) -> NDArray[np.float32]:
        """The scores of some examples, (n,) float32; NaN where there is none yet.

        Raises:
            UsageError: an index is out of range.
        """

    @abstractmethod
    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a file, whole or not at all; every rank calls it."""

    @abstractmethod
    def load(self, path: str | PathLike[str]) -> None:
        """Replace everything by what `save` wrote; every rank calls it. Pushes before it are forgotten.

        Processes without torch.distributed are no ranks of one job: one loads before the others connect.

        Raises:
            UsageError: the file is not whole, or of another version, data set size or configuration. The
                store stays as it was.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget all scores and plans, as if the run had just begun; every rank calls it.

        A store that outlives its jobs may hold an old run of the same name: who begins resets it. Processes
        without torch.distributed are no ranks of one job: one resets before the others connect.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what the store holds. Pushes that were not flushed are lost."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ReadOnlyStore(Store):
    """A store that answers questions, and refuses all that would change it."""

    def push(self, indices: Array, scores: Array, epoch: int, valid: Array | None = None) -> None:
        self._refuse("push")

    def plan(self, epoch: int, rank: int | None = None, world_size: int | None = None) -> Shard:
        self._refuse("plan")

    def record(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._refuse("record")

    def flush(self) -> None:
        """Nothing is ever waiting."""

    def save(self, path: str | PathLike[str]) -> None:
        self._refuse("save")

    def load(self, path: str | PathLike[str]) -> None:
        self._refuse("load")

    def reset(self) -> None:
        self._refuse("reset")

    def close(self) -> None:
        """Nothing is held open."""

    def _refuse(self, call: str) -> NoReturn:
        raise UsageError(f"{call}(): this store can only be read; connect() to change it")
