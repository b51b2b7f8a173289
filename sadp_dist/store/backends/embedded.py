"""The embedded store, "memory:": the engine runs in the training process, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.passwords import without_password
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import Shard
from sadp_dist.store.client.buffer import PushBuffer
from sadp_dist.store.client.collective import CONNECTED_TOO_EARLY, has_other_ranks
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Figures, Run, check_figures
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.options import StoreOptions
from sadp_dist.store.view import Store

if TYPE_CHECKING:
    from sadp_dist.store.view import Array


def connect(
    url: str,
    run: str,
    dataset_size: int,
    pruning: PruningConfig,
    labels: NDArray[Any] | None,
    options: StoreOptions,
) -> Store:
    """Return the store of this process, or of all ranks of a torch.distributed job."""
    if url not in ("memory:", "memory://"):
        raise UsageError(f'url={without_password(url)!r}: the embedded store has no address; use "memory:"')
    if has_other_ranks():
        from sadp_dist.store.backends.shared import SharedStore

        return SharedStore(run, dataset_size, pruning, labels)
    return EmbeddedStore(Run(run, dataset_size, pruning, labels))


class EmbeddedStore(Store):
    """The engine in this process, which may ask for the shards of any rank and world size."""

    def __init__(self, run: Run) -> None:
        self._engine = Engine(run)
        self._buffer = PushBuffer(run.dataset_size, self._engine.apply)

    def push(self, indices: Array, scores: Array, epoch: int, valid: Array | None = None) -> None:
        self._buffer.push(indices, scores, epoch, valid)

    def plan(self, epoch: int, rank: int | None = None, world_size: int | None = None) -> Shard:
        if has_other_ranks():  # each rank would plan alone, from its own scores
            raise UsageError(CONNECTED_TOO_EARLY)
        self.flush()
        return self._engine.shard(epoch, 0 if rank is None else rank, 1 if world_size is None else world_size)

    def flush(self) -> None:
        try:
            self._buffer.drain()
        finally:
            self._engine.reject(self._buffer.rejected)
            self._buffer.rejected = 0

    def record(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._engine.record(Figures(epoch, check_figures(figures)))

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        self.flush()
        return self._engine.answer(name, arguments)

    def save(self, path: str | PathLike[str]) -> None:
        self.flush()
        self._engine.snapshot().save(path)

    def load(self, path: str | PathLike[str]) -> None:
        self._engine.restore(Snapshot.read(path))
        self._buffer.clear()

    def reset(self) -> None:
        self._engine = Engine(self._engine.run)
        self._buffer = PushBuffer(self._engine.run.dataset_size, self._engine.apply)

    def close(self) -> None:
        self._buffer.clear()
