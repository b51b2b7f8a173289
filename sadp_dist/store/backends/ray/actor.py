"""The actor that keeps a run: a service, its snapshots, and a check of who may change it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.plan import PlanFigures
from sadp_dist.selection.probabilities import Capping
from sadp_dist.store.backends.ray.creation import Creation
from sadp_dist.store.backends.ray.files import SnapshotFiles
from sadp_dist.store.backends.ray.table import TableLost
from sadp_dist.store.backends.ray.tables import Left, TableActors, TableHere, Tables
from sadp_dist.store.connection import Unreachable, Waiting
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.history import EpochRecord, History
from sadp_dist.store.engine.run import Run, check_rank
from sadp_dist.store.engine.service import Service, refuse_if_over
from sadp_dist.store.engine.stats import StoreStats
from sadp_dist.store.wire.pieces import Outline, Pieces

T = TypeVar("T")


class State(NamedTuple):
    """What a run's actor holds, as far as its clients have to know; every reply carries it.

    Attributes:
        incarnation: random, another one each time that the actor's process, or that of a table, starts anew.
        origin: of the run.
        snapshots: how many it has written. With fewer, one that comes back has lost a plan that it gave out.
    """

    incarnation: int
    origin: int
    snapshots: int


class RunActor:
    """One run. Ray starts it anew when its process or node is lost; it then goes on from its newest snapshot.

    What it acknowledged after that snapshot is the clients' to send again, all of it before any of them asks
    for a plan. So calls come with the state that the client believes in: one that is behind gets the actor's
    own state and no answer, and nothing is done. Between a plan and its snapshot no score is stored and no
    shard given out; a snapshot needs no plan, which can be made again from the scores in it.

    Calls wait on an event loop and are carried out one at a time, in a thread. Large arrays stay with Ray
    where they are, for clients to fetch.
    """

    def __init__(self, creation: Creation) -> None:
        self._creation = creation
        self._planner = f"ray actor {creation.name}"
        self._files = SnapshotFiles(creation.folder, creation.token, "run")
        self._kept: _Kept | None = None
        self._state = State(secrets.randbits(63), creation.token, snapshots=0)
        self._last_snapshot: float | None = None
        self._not_written: int | None = None  # the epoch of a plan
        self._turn = asyncio.Lock()
        self._news = asyncio.Condition()

    async def open(self) -> tuple[State, Creation, dict[str, Any] | None]:
        """The state, what the run was made with, and its facts; None for these until somebody begins it."""
        async with self._turn:
            kept = await self._carry_out(self._open)
            return self._state, self._creation, None if kept is None else kept.engine.run.facts()

    async def begin(self, checksum: str | None, labels: Sequence[Any]) -> None:
        """Begin an empty run, unless there is one.

        Args:
            checksum: of the labels; None without.
            labels: of each table's range, left with Ray; None without.
        """

        def begin() -> None:
            if self._open() is None:
                engine, tables = self._new_engine(checksum)
                tables.each_its("begin_run", [(of_table,) for of_table in labels])
                self._kept = _Kept(Service(engine, self._creation.token), engine, tables)
                self._state = State(self._state.incarnation, self._creation.token, snapshots=0)
                self._not_written = None

        async with self._turn:
            await self._carry_out(begin)

    async def receive(self, believed: State, frames: Sequence[NDArray[np.uint8]]) -> tuple[State, None]:
        """Store frames."""

        def receive(kept: _Kept) -> None:
            self._write_plan(kept)
            for frame in frames:
                kept.service.receive(frame.data)

        return await self._answer(believed, receive)

    async def ask(self, believed: State, epoch: int, rank: int, world_size: int) -> tuple[State, bool | None]:
        """See `Service.ask`; whether that has made the plan."""

        def ask(kept: _Kept) -> bool:
            self._write_plan(kept)
            planned = kept.engine.has_plan(epoch)
            kept.service.ask(epoch, rank, world_size)
            if planned or not kept.engine.has_plan(epoch):
                return False
            self._not_written = epoch
            return True

        state, made = await self._answer(believed, ask)
        if made:
            await self._tell()
        return state, made

    async def shard(
        self, believed: State, epoch: int, rank: int, world_size: int, patience: float
    ) -> tuple[State, tuple[PlanFigures, list[Left]] | Waiting | None]:
        """A rank's shard from every table once there is one; after `patience` seconds who is missing."""

        def shard(kept: _Kept) -> tuple[PlanFigures, list[Left]] | Waiting:
            self._write_plan(kept)
            if not kept.engine.has_plan(epoch):
                refuse_if_over(epoch, kept.engine.latest_epoch, kept.engine.run.name)
                return Waiting(kept.service.missing(epoch, world_size), self._planner)
            plan, run_key = kept.engine.plan(epoch), kept.engine.run.pruning.run_key(epoch)
            asked = epoch, *check_rank(rank, world_size), plan.drawn, run_key
            return plan, kept.tables.leave("shard", *asked)

        def has_news() -> bool:
            kept = self._kept_for(believed)
            return kept is None or kept.engine.has_plan(epoch)

        with suppress(TimeoutError):
            async with asyncio.timeout(patience), self._news:
                await self._news.wait_for(has_news)
        return await self._answer(believed, shard)

    async def snapshot(
        self, believed: State
    ) -> tuple[State, tuple[Outline, list[Left], list[list[Left]]] | None]:
        """Everything, as `Pieces` that are left with Ray."""

        def snapshot(kept: _Kept) -> tuple[Outline, list[Left], list[list[Left]]]:
            outline = kept.engine.outline()
            drawn = [kept.tables.leave("drawn", plan.epoch) for plan in outline.plans]
            return outline, kept.tables.leave("state"), drawn

        return await self._answer(believed, snapshot)

    async def restore(
        self, outline: Outline, states: list[Any], drawn: list[list[Any]], origin: int
    ) -> State:
        """Replace everything by `Pieces` whose arrays are left with Ray, under a new origin."""

        def restore() -> None:
            kept = self._open()
            if kept is None:
                raise Unreachable(f"{self._planner} waits for a rank to begin the run")
            kept.engine.take_over(Pieces(outline, states, drawn))
            kept.service.begin_anew(origin)
            self._state = self._state._replace(origin=origin)
            self._write(kept)

        async with self._turn:
            await self._carry_out(restore)
        await self._tell()
        return self._state

    async def stats(self, believed: State) -> tuple[State, StoreStats | None]:
        """See `Store.stats`."""
        return await self._answer(
            believed, lambda kept: kept.service.stats(self._planner, self._last_snapshot)
        )

    async def history(self, believed: State) -> tuple[State, list[EpochRecord] | None]:
        """See `Store.history`."""
        return await self._answer(believed, lambda kept: kept.engine.history())

    async def classes(self, believed: State) -> tuple[State, ClassFigures | None]:
        """See `Store.classes`."""
        return await self._answer(believed, lambda kept: kept.engine.classes())

    async def top(
        self, believed: State, k: int, lowest: bool, by: str
    ) -> tuple[State, tuple[NDArray[np.int64], NDArray[np.float32]] | None]:
        """See `Store.top`."""
        return await self._answer(believed, lambda kept: kept.engine.top(k, lowest, by))

    async def scores(
        self, believed: State, indices: NDArray[np.int64]
    ) -> tuple[State, NDArray[np.float32] | None]:
        """See `Store.scores`."""
        return await self._answer(believed, lambda kept: kept.engine.scores(indices))

    async def forget(self) -> None:
        """Remove the snapshots: the actors are about to be killed."""

        def forget() -> None:
            if self._kept is not None:
                self._kept.tables.each("remove_files")
            self._files.remove_folder()

        async with self._turn:
            await self._carry_out(forget)

    async def _answer(self, believed: State, step: Callable[[_Kept], T]) -> tuple[State, T | None]:
        """Carry a step out for a client who believes in the present state."""
        async with self._turn:
            kept = self._kept_for(believed)
            result = None if kept is None else await self._carry_out(step, kept)
            return self._state, result

    async def _carry_out(self, step: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.to_thread(step, *arguments)
        except TableLost:  # what it had is gone, and what the others have cannot be trusted
            self._kept = None
            self._state = self._state._replace(incarnation=secrets.randbits(63))
            await self._tell()
            raise

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _kept_for(self, believed: State) -> _Kept | None:
        same_line = (believed.incarnation, believed.origin) == (self._state.incarnation, self._state.origin)
        return self._kept if same_line else None

    def _open(self) -> _Kept | None:
        """The run as of the newest snapshot, if it is not there already."""
        newest = self._files.newest() if self._kept is None else None
        if newest is not None:
            header, arrays = self._files.read(newest)
            engine, tables = self._new_engine(header["labels"])
            tables.each("read", newest)
            plans = tuple(map(_plan, header["plans"]))
            engine.resume(Outline(header["seen"], header["counters"], plans, History.of(arrays)))
            if header["planned"] is not None:
                engine.plan(header["planned"])
            # Whoever had asked has to send again what came after this snapshot, before it asks again.
            service = Service.resume(engine, {**header["service"], "asked": []})
            self._kept = _Kept(service, engine, tables)
            self._state = State(self._state.incarnation, service.origin, newest)
            self._not_written = None
        return self._kept

    def _new_engine(self, labels: str | None) -> tuple[Engine, Tables]:
        creation = self._creation
        run = Run(creation.name, creation.dataset_size, creation.pruning, labels_elsewhere=labels)
        tables = TableHere(creation) if len(creation.ranges) == 1 else TableActors(creation)
        return Engine(run, tables), tables

    def _write_plan(self, kept: _Kept) -> None:
        if self._not_written is not None:
            self._write(kept, self._not_written)

    def _write(self, kept: _Kept, planned: int | None = None) -> None:
        """Write a snapshot: the tables first, which nobody reads before there is the header.

        Args:
            kept: the run.
            planned: the epoch of the plan that was made from just these scores; None writes all plans.
        """
        number = self._state.snapshots + 1
        outline = kept.engine.outline()
        plans = outline.plans if planned is None else ()
        kept.tables.each("write", number, [plan.epoch for plan in plans])
        header = {
            "labels": kept.engine.run.labels_elsewhere,
            "seen": outline.seen,
            "counters": outline.counters,
            "plans": [asdict(plan) for plan in plans],
            "planned": planned,
            "service": kept.service.state(),
        }
        self._files.write(number, header, history=outline.history.lines())
        self._state = self._state._replace(snapshots=number)
        self._last_snapshot = time.time()
        self._not_written = None


class _Kept(NamedTuple):
    service: Service
    engine: Engine
    tables: Tables


def _plan(figures: dict[str, Any]) -> PlanFigures:
    return PlanFigures(**{**figures, "capping": Capping(**figures["capping"])})
