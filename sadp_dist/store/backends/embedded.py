"""The embedded store, "memory:": the engine is in the training process, or on rank 0 of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import Shard, check_rank
from sadp_dist.store.client.buffer import PushBuffer
from sadp_dist.store.client.collective import Collective
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Figures, Records, Run, check_figures, differences
from sadp_dist.store.engine.service import refuse_if_over
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.view import Store

if TYPE_CHECKING:
    from sadp_dist.store.view import Array

T = TypeVar("T")


class EmbeddedStore(Store):
    """One store for all ranks of a job; all of them create it together.

    Rank 0 stores its pushes at once. The other ranks keep theirs until every rank calls `plan`, `flush` or
    `save`. These calls and `load` raise the same error on every rank. Call `record` and the queries on rank
    0; queries include rank 0's pushes, and those that the other ranks have sent. A process without
    torch.distributed may ask for the shard of any rank and world size.

    Args:
        make_run: returns what is trained.

    Raises:
        UsageError: `make_run` fails on a rank, or its run differs from rank 0's.
    """

    def __init__(self, make_run: Callable[[], Run]) -> None:
        self._ranks = Collective()
        self._run = self._agreed_run(make_run)
        self._outbox = Outbox()
        self._engine = Engine(self._run) if self._ranks.rank == 0 else None
        self._buffer = PushBuffer(
            self._run.dataset_size,
            self._engine.apply if self._engine else self._outbox.add,
            self._run.check_epoch,
        )
        self._rows: list[dict[int, int]] = []  # of each rank's buffer when all called last

    def push(self, indices: Array, scores: Array, epoch: int, valid: Array | None = None) -> None:
        self._buffer.push(indices, scores, epoch, valid)

    def plan(self, epoch: int, rank: int | None = None, world_size: int | None = None) -> Shard:
        def request() -> tuple[int, int, int]:
            mine = self._ranks.rank if rank is None else rank
            size = self._ranks.size if world_size is None else world_size
            return self._run.check_epoch(epoch), *check_rank(mine, size)

        requests = self._deliver("plan", request)
        if len({asked for asked, _, _ in requests}) > 1:
            said = ", ".join(
                f"rank {number} for epoch={asked}" for number, (asked, _, _) in enumerate(requests)
            )
            raise UsageError(f"the ranks asked for plans of different epochs: {said}; all ask for the same")
        shards: list[Shard] = []

        def make_shards() -> list[tuple[int, Shard]]:
            engine = self._here("plan")
            refuse_if_over(requests[0][0], engine.latest_epoch, self._run.name)
            shards.extend(engine.shard(*asked) for asked in requests)
            return [
                (len(s.indices), replace(s, indices=s.indices[:0], weights=s.weights[:0])) for s in shards
            ]

        length, figures = self._ranks.on_rank_zero(make_shards)[self._ranks.rank]
        indices = self._ranks.scatter([shard.indices for shard in shards], length, np.int64)
        weights = self._ranks.scatter([shard.weights for shard in shards], length, np.float64)
        return replace(figures, indices=indices, weights=weights)

    def pushed(self, epoch: int, indices: NDArray[np.int64], world_size: int) -> int:
        rows = self._buffer.rows.get(epoch, 0)
        if rows >= len(indices) or not self._run.needs_scores_of(epoch):
            return len(indices)
        # One rank may push for all. Without padding, a rank has at most one example more than another.
        everyone = sum(theirs.get(epoch, 0) for theirs in self._rows)
        enough = everyone > (len(indices) - 1) * world_size and world_size > 1
        return len(indices) if enough else rows

    def same_on_ranks(self, call: str, name: str, value: int) -> None:
        self._ranks.same(call, name, value)

    def flush(self) -> None:
        self._deliver("flush", lambda: None)

    def record(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._here("record").record(Figures(epoch, check_figures(figures)))

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        engine = self._here(name)
        try:
            self._buffer.drain()
        finally:
            engine.reject(self._buffer.take_rejected())
        return engine.answer(name, arguments)

    def save(self, path: str | PathLike[str]) -> None:
        self._deliver("save", lambda: None)
        self._ranks.on_rank_zero(lambda: self._here("save").snapshot().save(path))

    def load(self, path: str | PathLike[str]) -> None:
        self._ranks.agree("load", lambda: None)
        self._ranks.on_rank_zero(lambda: self._here("load").restore(Snapshot.read(path)))
        self._buffer.clear()
        self._outbox.clear()

    def reset(self) -> None:
        self._ranks.agree("reset", lambda: None)
        if self._engine is not None:
            self._engine.restore(Engine(self._run).snapshot())
        self._buffer.clear()
        self._outbox.clear()

    def close(self) -> None:
        self._buffer.clear()
        self._outbox.clear()
        self._ranks.close()

    def _agreed_run(self, make: Callable[[], Run]) -> Run:
        made: list[Run] = []

        def step() -> dict[str, Any]:
            made.append(make())
            return made[0].facts()

        first, *others = self._ranks.agree("connect", step)
        for rank, facts in enumerate(others, start=1):
            unlike = differences(facts, first, here="rank 0:")
            if unlike:
                raise UsageError(f"rank {rank} connects to another run than rank 0: {unlike}")
        return made[0]

    def _deliver(self, call: str, ask: Callable[[], T]) -> list[T]:
        """Carry every rank's pushes to the engine; return the result of `ask` on each rank."""
        parcel: list[Parcel] = []

        def step() -> tuple[T, list[tuple[int, int, int]], int, dict[int, int]]:
            self._buffer.drain()
            parcel.append(self._outbox.pack())
            return ask(), parcel[0].contents, self._buffer.rejected, self._buffer.rows

        asked, contents, rejected, rows = zip(*self._ranks.agree(call, step), strict=True)
        lengths = [sum(count for _, _, count in theirs) for theirs in contents]
        indices = self._ranks.gather(parcel[0].indices, lengths)
        scores = self._ranks.gather(parcel[0].scores, lengths)
        if self._engine is not None:
            for theirs in map(Parcel, contents, indices, scores):
                for records, pushes in theirs.unpack():
                    self._engine.apply(records, pushes)
            self._engine.reject(sum(rejected))
        self._outbox.clear()
        self._buffer.rejected = 0
        self._rows = list(rows)
        return list(asked)

    def _here(self, call: str) -> Engine:
        if self._engine is None:
            raise UsageError(
                f"{call}() on rank {self._ranks.rank}: call it on rank 0, which has the embedded store"
            )
        return self._engine


@dataclass(frozen=True)
class Parcel:
    """The records of several pushes, in one pair of arrays.

    Attributes:
        contents: (epoch, pushes, records) of each part, in the order of the arrays.
        indices: (n,) int64.
        scores: (n,) float32.
    """

    contents: list[tuple[int, int, int]]
    indices: NDArray[np.int64]
    scores: NDArray[np.float32]

    def unpack(self) -> Iterator[tuple[Records, int]]:
        """Yield the records of each epoch, and how many pushes they came in."""
        start = 0
        for epoch, pushes, count in self.contents:
            part = slice(start, start + count)
            yield Records(self.indices[part], self.scores[part], epoch), pushes
            start += count


class Outbox:
    """Keeps copies of records, because the caller of `push` may reuse their memory."""

    def __init__(self) -> None:
        self._pushes: dict[int, list[Records]] = {}

    def add(self, records: Records) -> None:
        """Keep a copy of one push."""
        copied = Records(records.indices.copy(), records.scores.copy(), records.epoch)
        self._pushes.setdefault(records.epoch, []).append(copied)

    def pack(self) -> Parcel:
        """Return everything, one part for each epoch; it stays here until `clear`."""
        pushes = [push for of_epoch in self._pushes.values() for push in of_epoch]
        return Parcel(
            [
                (epoch, len(of_epoch), sum(len(push.indices) for push in of_epoch))
                for epoch, of_epoch in self._pushes.items()
            ],
            np.concatenate([np.empty(0, np.int64), *(push.indices for push in pushes)]),
            np.concatenate([np.empty(0, np.float32), *(push.scores for push in pushes)]),
        )

    def clear(self) -> None:
        """Drop everything."""
        self._pushes.clear()
