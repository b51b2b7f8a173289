"""The planner of a run in Redis: takes the lease, reads the log, plans what all ranks have asked for."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.client import Pipeline
from redis.exceptions import ResponseError

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.directory import Directory
from sadp_dist.store.backends.redis.keys import REMOVED, Meta, new_name
from sadp_dist.store.backends.redis.lease import TTL, Lease, LeaseLost, acquire
from sadp_dist.store.backends.redis.log import Entries, Replica
from sadp_dist.store.backends.redis.publishing import Publisher
from sadp_dist.store.backends.redis.resting import Resting
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.backends.redis.state import Changed, begin
from sadp_dist.store.client.retry import pauses
from sadp_dist.store.connection import Unreachable

POLL = 0.25
"""Seconds between looks at who else plans, and whether to stop."""
LOOK = 1.0
"""Seconds between looks for a server, where one goes first."""


class Planner:
    """A thread that plans one run while it has the lease, and waits for the lease while another one does.

    It keeps the run's state in memory. A Redis that comes back with less than it had, or empty, gets the run
    back from here, as a new generation of the log.

    Args:
        server: where the run is.
        run: its name.
        title: what it is, for people to read.
        outside: it is not part of the job that trains, and tells those that are; it closes `server`.
        yields: leave the run to a planner outside the job, if there is one.
        idle: seconds without an entry of the log after which it ends.
        say: is told in one line what happens.

    Attributes:
        failure: why it has ended, if something went wrong.
        resting: how it has left the run, if nobody wrote to it any more.
    """

    def __init__(
        self,
        server: Server,
        run: str,
        title: str,
        outside: bool = False,
        yields: bool = False,
        idle: float = math.inf,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._server, self._run, self._outside, self._yields = server, run, outside, yields
        self._idle, self._say = idle, lambda line: say(f"run {run}: {line}")
        self._replica, self._directory = Replica(server, run), Directory(server.address)
        self._keys = self._replica.keys
        self._name = f"{title} at {socket.gethostname()}:{os.getpid()}"
        self._lease: Lease | None = None
        self._process: str | None = None  # of Redis, when the log was last known to be whole
        self._looked, self._yielding = -LOOK, False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._plan_on, name="sadp_dist planner", daemon=True)
        self.failure: Exception | None = None
        self.resting: Resting | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float | None = None) -> None:
        """End the thread after what it is doing, and let another one have the run."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def check(self) -> None:
        """Find out whether it has failed.

        Raises:
            UsageError, StoreUnavailable: it has, for that reason.
        """
        if isinstance(self.failure, UsageError | StoreUnavailable):
            raise type(self.failure)(str(self.failure))
        if self.failure is not None:
            raise RuntimeError(f"the planner has failed: {self.failure!r}") from self.failure

    @property
    def alive(self) -> bool:
        """Whether the thread runs; if not, `failure` may say why."""
        return self._thread.is_alive()

    def _plan_on(self) -> None:
        try:
            self._take_turns()
        except Exception as error:  # whoever started the thread has to know
            self.failure = error
        finally:
            self._let_go()
            self._directory.close()
            if self._outside:
                if self.resting is None:
                    with suppress(Exception), self._server.faults():
                        self._server.redis.unlink(self._keys.server)
                self._server.close()

    def _take_turns(self) -> None:
        waits, trouble = pauses(), False
        while not self._stopped.is_set() and self.resting is None:
            try:
                with self._server.faults():
                    lease = self._lease or self._take_lease()
                    if trouble:
                        self._say(f"{self._server.address} is back")
                    waits, trouble = pauses(), False
                    if lease is None:
                        self._stopped.wait(POLL)
                        continue
                    self._lead(lease)
                    self._let_go()
            except LeaseLost:
                self._lease = None
            except Changed:
                continue
            except Unreachable as problem:
                if not trouble:
                    self._say(f"{problem}; trying on")
                trouble = True
                self._stopped.wait(next(waits))

    def _take_lease(self) -> Lease | None:
        """Take the run, if it is free and this planner's to take."""
        if self._should_yield():
            return None
        there = self._server.redis.get(self._keys.meta) is not None
        if not there and self._replica.service is None:
            return None  # lost with its Redis; a planner that remembers it has to have the lease
        self._lease = acquire(self._server, self._keys, self._name)
        if self._lease is None and there:
            self._replica.forget()  # another one goes on; what is remembered here grows old
        if self._lease is not None:
            self._say("took over")
        return self._lease

    def _let_go(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
        self._replica.forget()

    def _lead(self, lease: Lease) -> None:
        """Plan until it is time to stop, to leave it to a server, or to rest."""
        self._catch_up(lease)
        publisher = Publisher(self._server, self._replica, lease, self._say)
        group = self._join(lease, publisher)
        publisher.settle(time.perf_counter())
        heard = time.monotonic()
        while not self._stopped.is_set() and not self._should_yield():
            lease.check()
            entries = self._read(group)
            start = time.perf_counter()
            if entries:
                heard = time.monotonic()
                self._replica.fold(entries)
                publisher.settle(start)
            elif time.monotonic() > heard + self._idle:
                self.resting = Resting(self._server, self._name, self._replica)
                return

    def _should_yield(self) -> bool:
        """Whether a planner outside the job is there; one that is outside says so."""
        if time.monotonic() < self._looked + LOOK:
            return self._yielding
        self._looked = time.monotonic()
        if self._outside:
            self._server.redis.set(self._keys.server, self._name, px=int(TTL * 1000))
        if self._yields:
            self._yielding = self._server.redis.get(self._keys.server) is not None
        return self._yielding

    def _catch_up(self, lease: Lease) -> None:
        """Bring what is in memory and what is in Redis together, whichever knows more."""
        replica = self._replica
        raw = self._server.redis.get(self._keys.meta)
        process = self._server.process  # the one that has just answered, or one that came after it
        if raw == REMOVED:
            replica.forget()
        meta = Meta.unpack(raw)
        if raw is None and replica.service is None:  # gone since the lease was taken
            lease.release()
            raise LeaseLost
        if replica.service is not None and meta is None:
            self._begin_anew(lease, raw)
            return
        before, restarted = replica.service, self._process != process
        replica.follow()
        self._process = process
        if restarted and before is not None and before is replica.service:
            self._begin_anew(lease, replica.raw)

    def _begin_anew(self, lease: Lease, over: bytes | None) -> None:
        """Give Redis the run back: everything, under a new generation, so that clients notice."""
        replica = self._replica
        assert replica.service is not None
        process = self._server.process
        self._directory.add(self._run)
        replica.meta, replica.raw = begin(self._server, self._keys, replica.service, over, lease.guard)
        replica.position, replica.read = replica.meta.position, 0
        self._process = process
        self._say(f"{self._server.address} may have lost some of it; gave it back")

    def _join(self, lease: Lease, publisher: Publisher) -> str:
        """Begin to read behind `position`, in a consumer group that only this planner has ever had.

        Two planners in one group would take entries from each other, and so would this one from itself after
        an answer that never arrived.
        """
        replica = self._replica
        assert replica.meta is not None
        log, group = self._keys.log(replica.meta.generation), f"planner-{lease.token}-{new_name()}"
        try:
            others = [found["name"] for found in self._server.redis.xinfo_groups(log)]

            def commands(pipe: Pipeline) -> None:
                for other in others:
                    pipe.xgroup_destroy(log, other)
                pipe.xgroup_create(log, group, replica.position)

            publisher.write(commands)
        except ResponseError as error:
            if "no such key" not in str(error) and "key to exist" not in str(error):
                raise
            self._begin_anew(lease, replica.raw)
            return self._join(lease, publisher)
        return group

    def _read(self, group: str) -> Entries:
        replica = self._replica
        assert replica.meta is not None
        log = self._keys.log(replica.meta.generation)
        try:
            answer = self._server.redis.xreadgroup(
                group, "planner", {log: ">"}, count=replica.count, block=int(POLL * 1000), noack=True
            )
        except ResponseError as error:
            if str(error).startswith(("NOGROUP", "UNBLOCKED", "WRONGTYPE")):
                raise Changed from error  # the log was begun anew, or another planner has taken over
            raise
        return _decoded(answer)


def _decoded(reply: Any) -> Entries:
    """The entries in an answer to XREADGROUP of one stream."""
    return reply[0][1] if reply else []
