"""A home in this process, over a real service, whose line can be cut and which can lose what it has."""

from __future__ import annotations

import secrets
import threading

from sadp_dist.store.connection import Connection, Restarted, Unreachable, Waiting
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.service import Service
from sadp_dist.store.wire.frames import encode
from sadp_dist.store.wire.snapshot import Snapshot


class Home:
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
            self.service = Service.from_snapshot(Snapshot.from_bytes(self.safe, "the home"))
            self.life += 1
            self.changed.notify_all()


class Nearby(Connection):
    """A line to a home.

    Attributes:
        up: set while the line is.
        open: set while the home answers what it is sent.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.life = home.life
        self.origin = home.service.origin
        self.up = threading.Event()
        self.up.set()
        self.open = threading.Event()
        self.open.set()

    def _reach(self) -> Service:
        if not self.up.is_set():
            raise Unreachable("nearby: does not answer (cut)")
        if self.life != self.home.life:
            self.life = self.home.life
            raise Restarted
        return self.home.service

    def send(self, frames):
        self.open.wait()
        with self.home.changed:
            service = self._reach()
            self.home.received.append(list(frames))
            for frame in frames:
                service.receive(encode(frame, self.origin, service.engine.run.dataset_size))

    def ask(self, epoch, rank, world_size):
        with self.home.changed:
            if self._reach().ask(epoch, rank, world_size):
                self.home.safe = self.home.written()
                self.home.changed.notify_all()

    def shard(self, epoch, rank, world_size, patience):
        with self.home.changed:
            self._reach()
            self.home.changed.wait_for(
                lambda: self.home.life != self.life or self.home.service.engine.has_plan(epoch), patience
            )
            service = self._reach()
            shard = service.shard(epoch, rank, world_size)
            return shard or Waiting(service.missing(epoch, world_size), "nearby")

    def query(self, name, arguments):
        with self.home.changed:
            return self._reach().answer(name, arguments, planner="nearby")

    def snapshot(self):
        with self.home.changed:
            self._reach()
            return Snapshot.from_bytes(self.home.written(), "the home")

    def restore(self, snapshot):
        with self.home.changed:
            if not self.up.is_set():
                raise Unreachable("nearby: does not answer (cut)")
            self.origin = secrets.randbits(64)
            self.home.service.restore(snapshot, self.origin)
            self.home.safe = self.home.written()
            self.home.changed.notify_all()

    def rejoin(self):
        self.origin = self.home.service.origin
        self.life = self.home.life

    def close(self):
        self.up.clear()
