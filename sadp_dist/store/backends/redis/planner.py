"""The planner of a run in Redis: takes the lease, reads the log, makes the plans that ranks ask for."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, ResponseError

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.lease import TTL, Lease, LeaseLost, Publisher, acquire
from sadp_dist.store.backends.redis.log import Entries, Replica, no_snapshot
from sadp_dist.store.backends.redis.server import Directory, Server
from sadp_dist.store.backends.redis.state import REMOVED, Changed, Meta, begin, has_snapshot, new_name
from sadp_dist.store.connection import Unreachable, pauses

POLL = 0.25
"""Seconds between checks for the lease and for a request to stop."""
LOOK = 1.0
"""Seconds between checks for a planner outside the job, if that one has priority, and for the run's keys."""


class IdleRun:
    """An idle run, as its planner left it.

    Args:
        server: where the run is.
        planner: name of the planner that would continue, for messages.
        replica: has read the log to its end.
    """

    def __init__(self, server: Server, planner: str, replica: Replica) -> None:
        assert replica.meta is not None
        self.server, self.planner, self.keys = server, planner, replica.keys
        self.log, self.position, self.raw = replica.keys.log(replica.meta.log), replica.position, replica.raw


class Planner:
    """A thread that waits for the lease of one run, and plans the run while it has the lease.

    It keeps the run's state in memory. If Redis comes back empty, or with less than it had, the planner
    writes the run again, with a new log.

    Args:
        server: where the run is.
        run: its name.
        title: kind of planner, for messages.
        outside: the planner is not part of the job that trains. It announces itself to the job's planner, and
            closes `server`.
        yields: leave the run to a planner outside the job, if there is one.
        idle_after: seconds without an entry in the log after which the planner ends.
        say: receives one line for each event.

    Attributes:
        failure: why the planner has ended, if something went wrong.
        idle: the run as the planner left it, if the planner ended because the run was idle.
        trouble: why the planner has come no further since its last success, if Redis is why.
    """

    def __init__(
        self,
        server: Server,
        run: str,
        title: str,
        outside: bool = False,
        yields: bool = False,
        idle_after: float = math.inf,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._server, self._run, self._outside, self._yields = server, run, outside, yields
        self._idle_after, self._say = idle_after, lambda line: say(f"run {run}: {line}")
        self._replica, self._directory = Replica(server, run, leads=True), Directory(server.address)
        self._keys = self._replica.keys
        self._name = f"{title} at {socket.gethostname()}:{os.getpid()}"
        self._lease: Lease | None = None
        self._last: Lease | None = None  # the latest that this planner had
        self._waits = pauses()
        self._process: str | None = None  # of Redis, when the log was last known to be complete
        self._looked, self._yielding = -LOOK, False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._plan_on, name="sadp_dist planner", daemon=True)
        self.failure: Exception | None = None
        self.idle: IdleRun | None = None
        self.trouble: Unreachable | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float | None = None) -> None:
        """End the thread after its present step, and give the lease back."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def check(self) -> None:
        """Raise if the planner has failed.

        Raises:
            UsageError, StoreUnavailable: the reason.
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
        except Exception as error:  # `check` raises it in the thread that trains
            self.failure = error
        finally:
            self._let_go()
            self._directory.close()
            if self._outside:
                if self.idle is None:
                    with suppress(Exception), self._server.faults():
                        self._server.redis.unlink(self._keys.server)
                self._server.close()

    def _take_turns(self) -> None:
        while not self._stopped.is_set() and self.idle is None:
            try:
                with self._server.faults():
                    lease = self._lease or self._take_lease()
                    if lease is None:
                        self._recover()
                        self._stopped.wait(POLL)
                        continue
                    self._lead(lease)
                    self._let_go()
            except LeaseLost:
                self._lease = None
            except Changed:
                continue
            except Unreachable as problem:
                if self.trouble is None:
                    self._say(f"{problem}; still trying")
                self.trouble = problem
                self._stopped.wait(next(self._waits))

    def _recover(self) -> None:
        if self.trouble is not None:
            self._say(f"{self._server.address} is back")
            self.trouble, self._waits = None, pauses()

    def _take_lease(self) -> Lease | None:
        """Take the lease, if no other planner has it or has priority."""
        try:
            return self._try_lease()
        except OutOfMemoryError:
            self._make_room()
            return self._try_lease()

    def _try_lease(self) -> Lease | None:
        if self._should_yield():
            return None
        there = self._is_there()
        if not there and self._replica.service is None:
            return None  # Redis lost the run; a planner that has it in memory needs the lease
        self._lease = acquire(self._server, self._keys, self._name)
        self._last = self._lease or self._last
        if self._lease is None and there:
            self._replica.forget()  # another planner continues, and the state in memory grows old
        if self._lease is not None:
            self._say("took over")
        return self._lease

    def _is_there(self) -> bool:
        """Whether Redis has the run, to continue from.

        Raises:
            Unreachable: it has the run without its snapshot, and another planner had it last.
        """
        while True:
            raw = self._server.redis.get(self._keys.meta)
            meta = Meta.unpack(raw)
            if meta is None or has_snapshot(self._server, self._keys, meta):
                return raw is not None
            if raw == self._server.redis.get(self._keys.meta):  # else the snapshot has just been replaced
                break
        if self._replica.service is None or not self._had_it_last():
            self._replica.forget()
            raise no_snapshot(self._run, self._server)
        return False

    def _had_it_last(self) -> bool:
        return self._last is not None and self._server.redis.get(self._keys.planner) == self._last.value

    def _make_room(self) -> None:
        """Make room for a lease that Redis refuses for memory, if nobody has had the run since."""
        if self._last is not None and self._replica.service is not None and self._had_it_last():
            self._replica.follow()
            Publisher(self._server, self._replica, self._last, self._say).make_room()

    def _let_go(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
        self._replica.forget()

    def _lead(self, lease: Lease) -> None:
        """Plan until it is time to stop, another planner has priority, or the run is idle."""
        self._catch_up(lease)
        publisher = Publisher(self._server, self._replica, lease, self._say)
        try:
            self._plan(lease, publisher)
        except OutOfMemoryError:
            publisher.make_room()
            raise

    def _plan(self, lease: Lease, publisher: Publisher) -> None:
        group = self._join(lease, publisher)
        publisher.settle(time.perf_counter())
        publisher.look()
        heard = looked = time.monotonic()
        while not self._stopped.is_set() and not self._should_yield():
            lease.check()
            entries = self._read(group)
            self._recover()
            if time.monotonic() > looked + LOOK:
                publisher.look()
                looked = time.monotonic()
            start = time.perf_counter()
            if entries:
                heard = time.monotonic()
                self._replica.fold(entries)
                publisher.settle(start)
            elif time.monotonic() > heard + self._idle_after:
                self.idle = IdleRun(self._server, self._name, self._replica)
                return

    def _should_yield(self) -> bool:
        """Whether a planner outside the job has priority. If this is one, announce it."""
        if time.monotonic() < self._looked + LOOK:
            return self._yielding
        self._looked = time.monotonic()
        if self._outside:
            self._server.redis.set(self._keys.server, self._name, px=int(TTL * 1000))
        if self._yields:
            self._yielding = self._server.redis.get(self._keys.server) is not None
        return self._yielding

    def _catch_up(self, lease: Lease) -> None:
        """Bring memory and Redis to the same state, from the one that has more."""
        replica = self._replica
        raw = self._server.redis.get(self._keys.meta)
        process = self._server.process  # the one that has just answered, or a later one
        if raw == REMOVED:
            replica.forget()
        meta = Meta.unpack(raw)
        if raw is None and replica.service is None:  # lost since the lease was taken
            lease.release()
            raise LeaseLost
        if replica.service is not None and meta is None:
            self._write_again(lease, raw)
            return
        before, restarted = replica.service, self._process != process
        replica.follow()
        self._process = process
        if restarted and before is not None and before is replica.service:
            self._write_again(lease, replica.raw)

    def _write_again(self, lease: Lease, over: bytes | None) -> None:
        """Write the run to Redis again, with a new log, so that the ranks notice."""
        replica = self._replica
        assert replica.service is not None
        process, old = self._server.process, replica.raw
        self._directory.add(self._run)
        replica.meta, replica.raw = begin(self._server, self._keys, replica.service, over, lease.guard)
        if over is None and old is not None:  # the meta alone was lost
            self._server.redis.unlink(*self._keys.named_in(old))
        replica.position, replica.read = replica.meta.position, 0
        self._process = process
        self._say(f"{self._server.address} may have lost part of the run; wrote it again")

    def _join(self, lease: Lease, publisher: Publisher) -> str:
        """Start to read after `position`, in a new consumer group; return its name.

        Two planners in one group would take entries from each other. So would one planner from itself, after
        an answer that never arrived.
        """
        replica = self._replica
        assert replica.meta is not None
        log, group = self._keys.log(replica.meta.log), f"planner-{lease.token}-{new_name()}"
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
            self._write_again(lease, replica.raw)
            return self._join(lease, publisher)
        return group

    def _read(self, group: str) -> Entries:
        replica = self._replica
        assert replica.meta is not None
        log = self._keys.log(replica.meta.log)
        try:
            answer = self._server.redis.xreadgroup(
                group, "planner", {log: ">"}, count=replica.count, block=int(POLL * 1000), noack=True
            )
        except ResponseError as error:
            if str(error).startswith(("NOGROUP", "UNBLOCKED", "WRONGTYPE")):
                raise Changed from error  # there is a new log, or another planner
            raise
        entries: Entries = answer[0][1] if answer else []
        return entries
