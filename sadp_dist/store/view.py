"""`RunView`, read access to a run, and `Store`, which also changes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import Shard
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.store.engine.run import Run, check_indices, in_range
from sadp_dist.store.engine.stats import StoreStats

if TYPE_CHECKING:
    import torch

    Array = torch.Tensor | NDArray[Any]

Query: TypeAlias = Callable[[str, Mapping[str, Any]], Any]
"""Answers a query, given its name (one of `engine.QUERIES`) and its arguments."""


CHANGES = ("push", "plan", "flush", "record", "save", "load", "state_dict", "load_state_dict", "reset")
"""What a `Store` can do beyond a `RunView`."""


class RunView:
    """Reads one run. Every backend answers from the same engine, so every backend gives the same answers.

    Args:
        query: carries a query to the engine of the run and returns the engine's answer.
        close: releases what `query` needs.
    """

    _dataset_size: int | None = None
    """N, if this side knows it: an index out of range is then refused without a query."""

    def __init__(self, query: Query, close: Callable[[], None] = lambda: None) -> None:
        self._carry, self._release = query, close

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the engine's answer to one query."""
        return self._carry(name, arguments)

    def stats(self) -> StoreStats:
        """Return the run's current figures."""
        return cast(StoreStats, self.query("stats", {}))

    def history(self) -> list[EpochRecord]:
        """Return every planned epoch, oldest first: figures of plan and scores, and what was recorded."""
        return cast(list[EpochRecord], self.query("history", {}))

    def classes(self) -> ClassFigures | None:
        """Return how much of each class the latest plan draws, and the mean score of each class.

        None if the run has no labels, or more than 65,536 classes.
        """
        return cast(ClassFigures | None, self.query("classes", {}))

    def top(
        self, k: int, lowest: bool = False, by: str = "score"
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the k examples with the highest score, best first, or those whose score changed most.

        Args:
            k: number of examples.
            lowest: return the lowest instead.
            by: "score"; or "change", the score minus the score of the epoch in which the example was scored
                before. Changes are ordered by magnitude and returned with their sign.

        Returns:
            Indices and values, both (min(k, n),), where n examples have such a value. Ties are in the order
            of their indices.

        Raises:
            UsageError: k < 0, or an unknown `by`.
        """
        found = self.query("top", {"k": k, "lowest": lowest, "by": by})
        return cast(tuple[NDArray[np.int64], NDArray[np.float32]], found)

    def scores(self, indices: Array) -> NDArray[np.float32]:
        """Return the scores of some examples, (n,) float32; NaN for an example without a score.

        Raises:
            UsageError: an index is out of range.
        """
        checked = check_indices(indices.cpu() if hasattr(indices, "cpu") else indices)
        if self._dataset_size is not None:
            checked = in_range(checked, self._dataset_size)
        return cast(NDArray[np.float32], self.query("scores", {"indices": checked}))

    def close(self) -> None:
        """Release connections and memory."""
        self._release()

    if not TYPE_CHECKING:  # a type checker reports such a call by itself

        def __getattr__(self, name: str) -> Any:
            if name not in CHANGES:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return partial(_refuse, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store(RunView, ABC):
    """The scores of one run: every rank pushes scores, and asks for its shard of each epoch.

    In a torch.distributed job, every rank calls `flush`, `save`, `load` and `reset`.
    """

    _run: Run

    @abstractmethod
    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the engine's answer to one query. It includes every push of this rank."""

    @abstractmethod
    def push(self, indices: Array, scores: Array, epoch: int, valid: Array | None = None) -> None:
        """Add scores from the backward passes of an epoch.

        Call it any number of times, on any rank, in any order. An example keeps the score of its latest
        epoch, and the largest one if that epoch gave several; so pushing the same scores twice is harmless.
        `push` never waits for a device. An error in scores that are still on a GPU is raised by the next
        `push`, `flush`, `plan` or query.

        Args:
            indices: (n,) integers in [0, N), tensor on any device or array.
            scores: (n,) real numbers, finite and >= 0, tensor on any device or array.
            epoch: the epoch that the scores belong to, 0 <= epoch < K.
            valid: (n,) bool, tensor on any device or array. Rows that are False are ignored: use it for rows
                with coefficient 0, and for an AMP step that overflowed.

        Raises:
            UsageError: an argument is wrong; nothing of this push is stored.
        """

    @abstractmethod
    def plan(self, epoch: int, rank: int | None = None, world_size: int | None = None) -> Shard:
        """Return one rank's examples of an epoch, with their weights.

        The epoch is planned once, from the scores pushed before. Every rank, world size and retry gets the
        same plan. The call waits until every rank of the job has asked.

        Args:
            epoch: 0 <= epoch < K.
            rank: 0 <= rank < world_size; default: torch.distributed's rank, 0 without it.
            world_size: number of shards; default: torch.distributed's world size, 1 without it.

        Raises:
            UsageError: an argument is out of range; or the epoch is over: a later one has been planned.
            StoreUnavailable: the store or another rank did not answer in time.
        """

    def planned_sizes(self, epochs: int | None = None) -> list[int]:
        """Return how many examples each of the first epochs is to keep, S = (1 - r_k) N; by default all.

        Raises:
            UsageError: the run has fewer epochs.
        """
        return self._run.planned_sizes(self._run.pruning.run_epochs if epochs is None else epochs)

    @abstractmethod
    def pushed(self, epoch: int, indices: NDArray[np.int64], world_size: int) -> int:
        """Return of how many of a rank's examples `push` got a score in an epoch, valid or not.

        It counts rows and does not compare indices. All of them count where the epoch needs no scores, or
        where other ranks push for this one.

        Args:
            epoch: a past epoch.
            indices: (n,) that this rank trained on.
            world_size: number of ranks.
        """

    @abstractmethod
    def same_on_ranks(self, call: str, name: str, value: int) -> None:
        """Refuse a value that differs between the ranks of a torch.distributed job; every rank calls it.

        Raises:
            UsageError: it differs; the message has the value of each rank.
        """

    @abstractmethod
    def flush(self) -> None:
        """Return once every push of every rank is stored; every rank calls it.

        Raises:
            UsageError: a push that was still on a GPU was wrong.
        """

    @abstractmethod
    def record(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Store what training measured in an epoch, for `history`.

        Call it on one rank; with "memory:" under torchrun, on rank 0. A thread sends the figures, so the call
        does not wait for the store. A second call for an epoch replaces the first.

        Args:
            epoch: 0 <= epoch < K.
            figures: finite numbers by name, such as loss and test_accuracy; at most 64. A name is a letter,
                then letters, digits and _ . / -, at most 48 characters.

        Raises:
            UsageError: an argument is wrong; nothing of this call is stored.
        """

    @abstractmethod
    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a file, completely or not at all; every rank calls it."""

    @abstractmethod
    def load(self, path: str | PathLike[str]) -> None:
        """Replace everything by what `save` wrote; every rank calls it. Earlier pushes are discarded.

        Processes without torch.distributed are not ranks of one job: load in one of them before the others
        connect.

        Raises:
            UsageError: the file is damaged, or has another version, dataset size or configuration. The store
                is unchanged.
        """

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return everything that `save` writes, for a checkpoint of PyTorch; every rank calls it.

        Returns:
            On rank 0 "store", uint8 (bytes,); empty on the other ranks.
        """
        import torch

        with TemporaryDirectory() as folder:
            file = Path(folder, "store.npz")
            self.save(file)
            saved = file.read_bytes() if file.exists() else b""  # only rank 0 writes the file
        return {"store": torch.frombuffer(bytearray(saved), dtype=torch.uint8)} if saved else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what rank 0's `state_dict` returned; every rank calls it, as `load`.

        Raises:
            UsageError: as `load`, or the state has no "store".
        """
        if "store" not in state:
            raise UsageError(
                f"load_state_dict: the state has {', '.join(map(str, state)) or 'nothing'}, but not 'store'; "
                "give all ranks the state that rank 0 saved"
            )
        with TemporaryDirectory() as folder:
            file = Path(folder, "store.npz")
            file.write_bytes(state["store"].cpu().numpy().tobytes())
            self.load(file)

    @abstractmethod
    def reset(self) -> None:
        """Delete all scores and plans, as if the run had just begun; every rank calls it.

        A store that outlives its jobs may hold an old run of the same name: reset it to begin again.
        Processes without torch.distributed are not ranks of one job: reset in one of them before the others
        connect.
        """

    @abstractmethod
    def close(self) -> None:
        """Release connections and memory.

        Pushes that are on their way get up to 10 s to arrive, also when the program ends without `close`. A
        warning counts those that did not. After an error in a `with` block nothing is waited for.
        """


def _refuse(call: str, *arguments: Any, **options: Any) -> NoReturn:
    raise UsageError(
        f"{call}(): this store can only be read; connect() to the run to change it, "
        "or connect() and load() a saved store"
    )
