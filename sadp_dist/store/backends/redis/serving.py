"""`sadp-dist serve`: planners for all runs of a Redis, outside the jobs that train."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing

from sadp_dist.errors import UsageError
from sadp_dist.store.backends.redis.address import Address
from sadp_dist.store.backends.redis.lease import TTL
from sadp_dist.store.backends.redis.planner import IdleRun, Planner
from sadp_dist.store.backends.redis.server import Directory, Server
from sadp_dist.store.connection import Unreachable, pauses

LOOK = 1.0
"""Seconds between looks for new runs."""
IDLE_AFTER = 300.0
"""Seconds without an entry in a run's log after which its planner ends and its scores leave the memory."""


def serve(url: str, run: str | None, say: Callable[[str], None], stopped: threading.Event) -> None:
    """Plan the runs of a Redis, those that exist and those that begin later, until `stopped`.

    Args:
        url: of the Redis.
        run: plan only this run.
        say: receives one line for each event.
        stopped: set by another thread, or by a signal.

    Raises:
        UsageError: the URL is wrong, or the Redis refuses this user.
    """
    address = Address.parse(url)
    runs = _Runs(address, say)
    waits, reached, complained = pauses(), False, False
    with closing(Directory(address)) as directory:
        while not stopped.is_set():
            try:
                names = [name for name in directory.names() if run in (None, name)]
                if not reached:
                    say(f"planning for {address}" + (f", run {run}" if run is not None else ""))
                waits, reached = pauses(), True
                runs.look_after(names)
            except Unreachable as problem:  # once it was reached, the planners say so
                if not reached and not complained:
                    say(f"{problem}; still trying")
                    complained = True
                stopped.wait(next(waits))
                continue
            stopped.wait(LOOK)
    runs.stop()


class _Runs:
    """The planners of some runs, and the runs that are idle."""

    def __init__(self, address: Address, say: Callable[[str], None]) -> None:
        self._address, self._say = address, say
        self._planners: dict[str, Planner] = {}
        self._idle: dict[str, IdleRun] = {}
        self._told: dict[str, str] = {}

    def look_after(self, names: list[str]) -> None:
        """Have a planner for each run that is not idle.

        Raises:
            UsageError: the Redis refuses this user.
            Unreachable: the Redis does not answer.
        """
        self._bury()
        self._idle = {name: run for name, run in self._idle.items() if name in names}
        for name in _awake(self._idle):
            del self._idle[name]
        for name in names:
            if name not in self._planners and name not in self._idle:
                planner = Planner(
                    Server(self._address),
                    name,
                    "sadp-dist serve",
                    outside=True,
                    idle_after=IDLE_AFTER,
                    say=self._say,
                )
                self._planners[name] = planner
                planner.start()

    def stop(self) -> None:
        """End all planners."""
        for planner in self._planners.values():
            planner.stop(timeout=TTL)

    def _bury(self) -> None:
        """Report planners that have ended; the next look starts them again if their runs still exist.

        Raises:
            UsageError: one has ended because the Redis refuses this user.
        """
        for run in [run for run, planner in self._planners.items() if not planner.alive]:
            planner = self._planners.pop(run)
            if planner.idle is not None:
                self._idle[run] = planner.idle
                self._say(f"run {run}: idle, no rank has written to it for {IDLE_AFTER:g} s")
                continue
            if isinstance(planner.failure, UsageError):
                raise planner.failure
            if self._told.get(run) != str(planner.failure):
                self._told[run] = str(planner.failure)
                self._say(f"run {run}: {planner.failure}")


def _awake(idle: Mapping[str, IdleRun]) -> list[str]:
    """Return the names of the runs that were written to or replaced, with one request to each server.

    To the ranks of the other runs, their planner stays visible.

    Raises:
        Unreachable: a server does not answer.
    """
    at_node = defaultdict(list)
    for name, run in idle.items():
        at_node[run.server.node].append((name, run))
    found = []
    for runs in at_node.values():
        server = runs[0][1].server
        with server.faults(), server.redis.pipeline(transaction=False) as pipe:
            for _, run in runs:
                pipe.set(run.keys.server, run.planner, px=int(TTL * 1000))
                pipe.get(run.keys.meta)
                pipe.xrange(run.log, f"({run.position}", count=1)
            answers = iter(pipe.execute(raise_on_error=False))
        for (name, run), _, raw, entries in zip(runs, answers, answers, answers, strict=True):
            if raw != run.raw or entries:  # an error counts, too: the planner finds out what it means
                found.append(name)
    return found
