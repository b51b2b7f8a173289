"""The actor that keeps a run: a service, its snapshots, and a check of who may change it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.sharding import Shard
from sadp_dist.store.connection import Unreachable, Waiting
from sadp_dist.store.engine import Engine
from sadp_dist.store.ray.files import SnapshotFiles
from sadp_dist.store.run import Run
from sadp_dist.store.service import Service
from sadp_dist.store.snapshot import Snapshot
from sadp_dist.store.stats import StoreStats

T = TypeVar("T")


class State(NamedTuple):
    """What an actor holds, as far as its clients have to know; every reply carries it.

    Attributes:
        incarnation: random, another one each time that the actor's process starts.
        origin: of the run.
        snapshots: how many it has written. With fewer, one that comes back has lost a plan that it gave out.
    """

    incarnation: int
    origin: int
    snapshots: int


class Creation(NamedTuple):
    """What an actor is created with, and again whenever its process starts.

    Attributes:
        name: of the run.
        dataset_size: N.
        pruning: how epochs are planned.
        origin: of the run at first.
        folder: where its snapshots go, on a path that fsspec reads.
    """

    name: str
    dataset_size: int
    pruning: PruningConfig
    origin: int
    folder: str


class RunActor:
    """One run. Ray starts it anew when its process or node is lost; it then goes on from its newest snapshot.

    What it acknowledged after that snapshot is the clients' to send again, all of it before any of them asks
    for a plan. So calls come with the state that the client believes in: one that is behind gets the actor's
    own state and no answer, and nothing is done.

    Calls wait on an event loop and are carried out one at a time, in a thread.
    """

    def __init__(self, creation: Creation) -> None:
        self._creation = creation
        self._planner = f"ray actor {creation.name}"
        self._files = SnapshotFiles(creation.folder, token=creation.origin)
        self._service: Service | None = None
        self._state = State(secrets.randbits(63), creation.origin, snapshots=0)
        self._last_snapshot: float | None = None
        self._durable = False  # whether the newest snapshot has all plans
        self._turn = asyncio.Lock()
        self._news = asyncio.Condition()

    async def open(self) -> tuple[State, dict[str, Any] | None]:
        """The state, and the facts of the run; None for them as long as nobody has begun it."""
        async with self._turn:
            service = await asyncio.to_thread(self._open)
            return self._state, None if service is None else service.engine.run.facts()

    async def begin(self, labels: NDArray[Any] | None) -> None:
        """Begin an empty run, unless there is one.

        They do not come with the creation: what is large would be lost to restarts with the process that made
        the actor.

        Args:
            labels: of the run, (N,) or None.
        """

        def begin() -> None:
            if self._open() is None:
                name, dataset_size, pruning, origin, _ = self._creation
                self._service = Service(Engine(Run(name, dataset_size, pruning, labels)), origin)

        async with self._turn:
            await asyncio.to_thread(begin)

    def _open(self) -> Service | None:
        newest = self._files.newest() if self._service is None else None
        if newest is not None:
            saved = self._files.read(newest)
            # Whoever had asked has to send again what came after this snapshot, before it asks again.
            self._service = Service.from_snapshot(replace(saved, service={**saved.service, "asked": []}))
            self._state = State(self._state.incarnation, self._service.origin, newest)
            self._durable = True
        return self._service

    async def receive(self, believed: State, frames: Sequence[NDArray[np.uint8]]) -> tuple[State, None]:
        """Store frames."""

        def receive(service: Service) -> None:
            for frame in frames:
                service.receive(frame.data)

        return await self._answer(believed, receive)

    async def ask(self, believed: State, epoch: int, rank: int, world_size: int) -> tuple[State, None]:
        """See `Service.ask`."""

        def ask(service: Service) -> None:
            planned = service.engine.has_plan(epoch)
            service.ask(epoch, rank, world_size)
            self._durable &= planned or not service.engine.has_plan(epoch)

        reply = await self._answer(believed, ask)
        await self._tell()
        return reply

    async def shard(
        self, believed: State, epoch: int, rank: int, world_size: int, patience: float
    ) -> tuple[State, Shard | Waiting | None]:
        """A rank's shard as soon as it is there; after `patience` seconds, who is waited for."""

        def shard(service: Service) -> Shard | Waiting:
            if not self._durable:
                self._write(service)
            shard = service.shard(epoch, rank, world_size)
            return Waiting(service.missing(epoch, world_size), self._planner) if shard is None else shard

        def has_news() -> bool:
            service = self._service_for(believed)
            return service is None or service.engine.has_plan(epoch)

        with suppress(TimeoutError):
            async with asyncio.timeout(patience), self._news:
                await self._news.wait_for(has_news)
        return await self._answer(believed, shard)

    async def snapshot(self, believed: State) -> tuple[State, Snapshot | None]:
        """Everything."""
        return await self._answer(believed, lambda service: _owning(service.snapshot()))

    async def restore(self, snapshot: Snapshot, origin: int) -> State:
        """Replace everything, under a new origin."""

        def restore() -> None:
            service = self._open()
            if service is None:
                raise Unreachable(f"{self._planner} waits for a rank to begin the run")
            service.restore(_owning(snapshot), origin)
            self._state = self._state._replace(origin=origin)
            self._write(service)

        async with self._turn:
            await asyncio.to_thread(restore)
        await self._tell()
        return self._state

    async def stats(self, believed: State) -> tuple[State, StoreStats | None]:
        """See `Store.stats`."""
        return await self._answer(believed, lambda service: service.stats(self._planner, self._last_snapshot))

    async def top(self, believed: State, k: int, lowest: bool) -> tuple[State, Any]:
        """See `Store.top`."""
        return await self._answer(believed, lambda service: service.engine.top(k, lowest))

    async def scores(
        self, believed: State, indices: NDArray[np.int64]
    ) -> tuple[State, NDArray[np.float32] | None]:
        """See `Store.scores`."""
        return await self._answer(believed, lambda service: service.engine.scores(indices))

    async def forget(self) -> None:
        """Remove the snapshots: the actor is about to be killed."""
        async with self._turn:
            await asyncio.to_thread(self._files.remove)

    async def _answer(self, believed: State, step: Callable[[Service], T]) -> tuple[State, T | None]:
        """Carry a step out for a client who believes in the present state."""
        async with self._turn:
            service = self._service_for(believed)
            result = None if service is None else await asyncio.to_thread(step, service)
            return self._state, result

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _service_for(self, believed: State) -> Service | None:
        same_line = (believed.incarnation, believed.origin) == (self._state.incarnation, self._state.origin)
        return self._service if same_line else None

    def _write(self, service: Service) -> None:
        number = self._state.snapshots + 1
        try:
            self._files.write(number, service.snapshot())
        except Exception as error:  # a file system raises what it likes
            raise Unreachable(f"snapshot={self._creation.folder!r} cannot be written: {error}") from error
        self._state = self._state._replace(snapshots=number)
        self._last_snapshot = time.time()
        self._durable = True


def _owning(snapshot: Snapshot) -> Snapshot:
    """A copy that nobody else writes to, and that can be written to: what comes through Ray cannot."""
    return replace(snapshot, scores=snapshot.scores.copy(), score_epochs=snapshot.score_epochs.copy())
