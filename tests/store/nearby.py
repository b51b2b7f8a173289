"""A backend in this process, over a real service, whose line can be cut and which can lose what it has."""

from __future__ import annotations

import secrets
import threading

from sadp_dist.store.connection import Connection, Restarted, Unreachable, Waiting
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.frames import encode
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.service import Service
from sadp_dist.store.engine.snapshot import Snapshot


class Backend:
    """What several connections share."""

    def __init__(self, run: Run) -> None:
        self.changed = threading.Condition()
        self.service = Service(Engine(run), secrets.randbits(64))
        self.life = 0
        self.safe = self.written()
        self.received: list[list] = []

    def written(self) -> bytes:
        return self.service.snapshot().to_bytes()

    def restart(self) -> None:
        """Come back as of the latest plan."""
        with self.changed:
            self.service = Service.from_snapshot(Snapshot.from_bytes(self.safe, "the backend"))
            self.life += 1
            self.changed.notify_all()


class Nearby(Connection):
    """A line to a backend.

    Attributes:
        up: set while the line is.
        open: set while the backend answers what it is sent.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.life = backend.life
        self.token = backend.service.token
        self.up = threading.Event()
        self.up.set()
        self.open = threading.Event()
        self.open.set()

    def _reach(self) -> Service:
        if not self.up.is_set():
            raise Unreachable("nearby: does not answer (cut)")
        if self.life != self.backend.life:
            self.life = self.backend.life
            raise Restarted
        return self.backend.service

    def send(self, frames):
        self.open.wait()
        with self.backend.changed:
            service = self._reach()
            self.backend.received.append(list(frames))
            for frame in frames:
                service.receive(encode(frame, self.token, service.engine.run.dataset_size))

    def ask(self, epoch, rank, world_size):
        with self.backend.changed:
            if self._reach().ask(epoch, rank, world_size):
                self.backend.safe = self.backend.written()
                self.backend.changed.notify_all()

    def shard(self, epoch, rank, world_size, patience):
        with self.backend.changed:
            self._reach()
            self.backend.changed.wait_for(
                lambda: self.backend.life != self.life or self.backend.service.engine.has_plan(epoch),
                patience,
            )
            service = self._reach()
            shard = service.shard(epoch, rank, world_size)
            return shard or Waiting(service.missing(epoch, world_size), "nearby")

    def query(self, name, arguments):
        with self.backend.changed:
            return self._reach().answer(name, arguments, planner="nearby")

    def snapshot(self):
        with self.backend.changed:
            self._reach()
            return Snapshot.from_bytes(self.backend.written(), "the backend")

    def restore(self, snapshot):
        with self.backend.changed:
            if not self.up.is_set():
                raise Unreachable("nearby: does not answer (cut)")
            self.token = secrets.randbits(64)
            self.backend.service.restore(snapshot, self.token)
            self.backend.safe = self.backend.written()
            self.backend.changed.notify_all()

    def rejoin(self):
        self.token = self.backend.service.token
        self.life = self.backend.life

    def close(self):
        self.up.clear()
