"""The actor that keeps a run: a service, its snapshots, and a check of who may change it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import Shard
from sadp_dist.store.backends.ray.files import SnapshotFiles
from sadp_dist.store.connection import Unreachable, Waiting
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.service import Service, refuse_if_over
from sadp_dist.store.engine.snapshot import Snapshot

T = TypeVar("T")


class Creation(NamedTuple):
    """What an actor is made with, and again whenever its process starts.

    It is small because Ray keeps it as long as the run. The labels come with `RunActor.begin`.

    Attributes:
        name: of the run.
        dataset_size: N.
        pruning: how epochs are planned.
        folder: where snapshots go, on a path that fsspec reads.
        token: of the run at first; see `engine.service`.
        data: fingerprints of the data set.
    """

    name: str
    dataset_size: int
    pruning: PruningConfig
    folder: str
    token: int
    data: dict[str, str]


class ActorState(NamedTuple):
    """What a client has to know about the actor's state; every reply carries it.

    Attributes:
        process: 64 random bits, new ones each time that the actor's process starts.
        token: of the run.
        snapshots: number of snapshots written. An actor that comes back with fewer has lost a plan that it
            gave out.
    """

    process: int
    token: int
    snapshots: int


class RunActor:
    """One run. Ray restarts it when its process or node is lost; it then continues from its newest snapshot.

    Clients send again what it acknowledged after that snapshot, all of it before any of them asks for a plan.
    So each call carries the state that the client believes in. If that state is old, the actor does nothing
    and returns its own state. Between a plan and its snapshot the actor stores no score and gives out no
    shard. Such a snapshot holds the scores without the plan, which is made again from them.

    Calls wait on an event loop and are carried out one at a time, in a thread.
    """

    def __init__(self, creation: Creation) -> None:
        self._creation = creation
        self._planner = f"ray actor {creation.name}"
        self._files = SnapshotFiles(creation.folder, creation.token)
        self._service: Service | None = None
        self._state = ActorState(secrets.randbits(63), creation.token, snapshots=0)
        self._last_snapshot: float | None = None
        self._last_message: float | None = None
        self._not_written: int | None = None  # the epoch of a plan
        self._turn = asyncio.Lock()
        self._news = asyncio.Condition()

    async def open(self) -> tuple[ActorState, Creation, dict[str, Any] | None]:
        """The state, what the run was made with, and its facts; None for the facts before `begin`."""
        async with self._turn:
            service = await asyncio.to_thread(self._open)
            return self._state, self._creation, None if service is None else service.engine.run.facts()

    async def begin(self, labels: NDArray[np.integer] | None) -> None:
        """Begin an empty run, unless there is one.

        Args:
            labels: (N,) the class of each example; None without.

        Raises:
            UsageError: the folder for snapshots cannot be written to.
        """

        def begin() -> None:
            if self._open() is not None:
                return
            creation = self._creation
            own = None if labels is None else labels.copy()  # Ray would hold on to its memory
            service = Service(
                Engine(Run(creation.name, creation.dataset_size, creation.pruning, own, creation.data)),
                creation.token,
            )
            try:
                self._write(service, number=0)
            except Unreachable as problem:  # before anything is at stake
                raise UsageError(f"{problem}; set store.snapshot to a folder that can be") from problem
            self._files.remove_older_runs()
            self._service = service
            self._state = self._state._replace(token=creation.token)

        async with self._turn:
            await asyncio.to_thread(begin)

    async def receive(
        self, believed: ActorState, frames: Sequence[NDArray[np.uint8]]
    ) -> tuple[ActorState, None]:
        """Store frames."""

        def receive(service: Service) -> None:
            self._last_message = time.time()
            self._write_plan(service)
            for frame in frames:
                service.receive(frame.data)

        return await self._answer(believed, receive)

    async def ask(
        self, believed: ActorState, epoch: int, rank: int, world_size: int
    ) -> tuple[ActorState, bool | None]:
        """See `Service.ask`; whether that has made the plan."""

        def ask(service: Service) -> bool:
            self._last_message = time.time()
            self._write_plan(service)
            planned = service.engine.has_plan(epoch)
            service.ask(epoch, rank, world_size)
            if planned or not service.engine.has_plan(epoch):
                return False
            self._not_written = epoch
            return True

        state, made = await self._answer(believed, ask)
        if made:
            await self._tell()
        return state, made

    async def shard(
        self, believed: ActorState, epoch: int, rank: int, world_size: int, patience: float
    ) -> tuple[ActorState, Shard | Waiting | None]:
        """A rank's shard once there is one; after `patience` seconds the ranks that are missing."""

        def shard(service: Service) -> Shard | Waiting:
            self._write_plan(service)
            found = service.shard(epoch, rank, world_size)
            if found is None:
                refuse_if_over(epoch, service.engine.latest_epoch, service.engine.run.name)
                return Waiting(service.missing(epoch, world_size), self._planner)
            return found

        def has_news() -> bool:
            service = self._service_for(believed)
            return service is None or service.engine.has_plan(epoch)

        with suppress(TimeoutError):
            async with asyncio.timeout(patience), self._news:
                await self._news.wait_for(has_news)
        return await self._answer(believed, shard)

    async def snapshot(self, believed: ActorState) -> tuple[ActorState, ray.ObjectRef[Snapshot] | None]:
        """Everything, in Ray's object store: copied there before the next call changes it."""
        return await self._answer(believed, lambda service: ray.put(service.engine.snapshot()))

    async def restore(self, snapshot: Snapshot, token: int) -> ActorState:
        """Replace everything by a snapshot, under a new token."""

        def restore() -> None:
            service = self._open()
            if service is None:
                raise Unreachable(f"{self._planner} waits for a rank to begin the run")
            service.restore(snapshot.copy(), token)  # arrays that come through Ray are read-only
            self._state = self._state._replace(token=token)
            self._write(service, self._state.snapshots + 1)

        async with self._turn:
            await asyncio.to_thread(restore)
        await self._tell()
        return self._state

    async def query(
        self, believed: ActorState, name: str, arguments: Mapping[str, Any]
    ) -> tuple[ActorState, Any]:
        """Return the engine's answer to one of `engine.QUERIES`."""
        return await self._answer(
            believed, lambda service: service.answer(name, arguments, self._planner, self._last_snapshot)
        )

    async def last_message(self) -> float | None:
        """When a rank last pushed or asked for an epoch, in seconds since 1970; None if it has not yet."""
        return self._last_message

    async def forget(self) -> None:
        """Remove the snapshots: the actor is about to be killed."""
        async with self._turn:
            await asyncio.to_thread(self._files.remove_folder)

    async def _answer(
        self, believed: ActorState, step: Callable[[Service], T]
    ) -> tuple[ActorState, T | None]:
        """Carry out a step for a client that believes in the present state."""
        async with self._turn:
            service = self._service_for(believed)
            result = None if service is None else await asyncio.to_thread(step, service)
            return self._state, result

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _service_for(self, believed: ActorState) -> Service | None:
        same_line = (believed.process, believed.token) == (self._state.process, self._state.token)
        return self._service if same_line else None

    def _open(self) -> Service | None:
        """The run as of the newest snapshot, if it is not open yet."""
        newest = self._files.newest() if self._service is None else None
        if newest is not None:
            snapshot = self._files.read(newest)
            engine = Engine.from_snapshot(snapshot)
            if snapshot.service["planned"] is not None:
                engine.plan(snapshot.service["planned"])
            # Ranks that had asked send what came after this snapshot before they ask again.
            self._service = Service.resume(engine, {**snapshot.service, "asked": []})
            self._state = ActorState(self._state.process, self._service.token, newest)
        return self._service

    def _write_plan(self, service: Service) -> None:
        if self._not_written is not None:
            self._write(service, self._state.snapshots + 1, planned=self._not_written)

    def _write(self, service: Service, number: int, planned: int | None = None) -> None:
        """Write a snapshot.

        Args:
            service: of the run.
            number: of the snapshot.
            planned: the epoch of the plan that was made from exactly these scores, which then need not be
                written; None writes all plans.
        """
        snapshot = service.snapshot()
        if planned is not None and snapshot.table.state:
            planned = None  # a rule that keeps state has changed it by the plan: it cannot be made again
        if planned is not None:
            snapshot = replace(snapshot, plans=())
        self._files.write(number, replace(snapshot, service={**snapshot.service, "planned": planned}))
        self._state = self._state._replace(snapshots=number)
        self._last_snapshot = time.time()
        self._not_written = None
