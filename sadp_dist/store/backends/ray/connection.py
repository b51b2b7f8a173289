"""A rank's connection to the actor of its run."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import ray
from numpy.typing import NDArray

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.selection.plan import Shard
from sadp_dist.store.backends.ray import cluster
from sadp_dist.store.backends.ray.actor import ActorState
from sadp_dist.store.backends.ray.files import WHAT_TO_DO
from sadp_dist.store.connection import Connection, Restarted, Unreachable, Waiting
from sadp_dist.store.engine.frames import Frame, encode
from sadp_dist.store.engine.run import Run, differences
from sadp_dist.store.engine.snapshot import Snapshot

CALL_BYTES = 2**20
"""Frames go in calls of about this size, of which several are under way."""


class RayConnection(Connection):
    """Remembers the actor's state, and so notices that the actor has restarted, perhaps with less.

    Args:
        actor: of the run.
        name: of the run.
        run: must agree with the actor's run; None for a view.

    Attributes:
        creation: what the actor was made with, perhaps by an earlier job.

    Raises:
        UsageError: the actor keeps a different run of this name.
        Unreachable: the actor does not answer now.
    """

    def __init__(self, actor: Any, name: str, run: Run | None = None) -> None:
        self._actor = actor
        self._name = name
        self._run = run
        self._lock = threading.Lock()
        self._state = self._open()

    def send(self, frames: Sequence[Frame]) -> None:
        state = self._state
        encoded = [encode(frame, state.token, self.creation.dataset_size) for frame in frames]
        with cluster.errors_of_ray():
            calls = [self._actor.receive.remote(state, batch) for batch in _batches(encoded)]
        for reply, _ in cluster.fetch(calls):
            self._check(state, reply)

    def ask(self, epoch: int, rank: int, world_size: int) -> None:
        self._call("ask", epoch, rank, world_size)

    def shard(self, epoch: int, rank: int, world_size: int, patience: float) -> Shard | Waiting:
        answer = self._call("shard", epoch, rank, world_size, patience, wait=patience)
        if isinstance(answer, Waiting):
            return answer
        shard = cast(Shard, answer)
        return replace(shard, indices=_own(shard.indices), weights=_own(shard.weights))

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        return self._call("query", name, arguments)

    def snapshot(self) -> Snapshot:
        return cast(Snapshot, cluster.fetch([self._call("snapshot")])[0])

    def restore(self, snapshot: Snapshot) -> None:
        self._open()
        with cluster.errors_of_ray():
            put = ray.put(snapshot)
        self._state = cluster.ask(self._actor, "restore", put, secrets.randbits(63))

    def rejoin(self) -> None:
        self._state = self._open()

    def close(self) -> None:
        """Nothing is held open: the process stays in the cluster."""

    def _call(self, method: str, *args: Any, wait: float = 0.0) -> Any:
        state = self._state
        reply, answer = cluster.ask(self._actor, method, state, *args, wait=wait)
        self._check(state, reply)
        return answer

    def _check(self, believed: ActorState, reply: ActorState) -> None:
        """Refuse the answer of an actor in another state than this side believes in."""
        if reply.process != believed.process:
            self._accept_restart(believed)
            raise Restarted
        if reply.token != believed.token:
            raise StoreUnavailable(
                f"run={self._name!r}: another job has taken over this name in the Ray cluster; "
                "give this one a name of its own"
            )
        with self._lock:
            if reply.snapshots > self._state.snapshots:
                self._state = reply

    def _accept_restart(self, left: ActorState) -> None:
        with self._lock:
            now = self._open()
            if now.token != left.token or now.snapshots < self._state.snapshots:
                raise StoreUnavailable(
                    f"run={self._name!r}: its Ray actor came back without its latest snapshot, which was "
                    f"lost with a node: {WHAT_TO_DO}"
                )
            self._state = now

    def _open(self) -> ActorState:
        """The actor's state, after making sure that the actor keeps this run."""
        state, self.creation, facts = cluster.ask(self._actor, "open")
        if facts is None:
            if self._run is None:
                raise Unreachable(f"run={self._name!r} waits for its ranks, since its Ray actor has started")
            with cluster.errors_of_ray():
                labels = ray.put(self._run.labels)
            cluster.ask(self._actor, "begin", labels)
            state, _, facts = cluster.ask(self._actor, "open")
        unlike = "" if self._run is None else differences(facts, self._run.facts())
        if unlike:
            raise UsageError(f"run={self._name!r} is already in the Ray cluster as another run: {unlike}")
        return cast(ActorState, state)


def _batches(frames: Sequence[bytes]) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield frames as arrays, which Ray copies least, about `CALL_BYTES` a call; at least one call."""
    batch: list[NDArray[np.uint8]] = []
    size = 0
    for frame in frames:
        if size >= CALL_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(np.frombuffer(frame, np.uint8))
        size += len(frame)
    yield batch


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this process's memory; Ray would keep its own."""
    return array if array.flags.writeable else array.copy()
