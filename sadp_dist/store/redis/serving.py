"""Planners for all runs of a Redis, outside the jobs that train."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from sadp_dist.errors import UsageError
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.redis.address import Address
from sadp_dist.store.redis.keys import RUNS, Keys
from sadp_dist.store.redis.lease import TTL
from sadp_dist.store.redis.planner import Planner
from sadp_dist.store.redis.server import Server
from sadp_dist.store.retry import pauses

LOOK = 1.0
"""Seconds between looks for new runs."""


def serve(url: str, run: str | None, say: Callable[[str], None], stopped: threading.Event) -> None:
    """Plan the runs of a Redis, those that there are and those that begin later, until `stopped`.

    Args:
        url: of the Redis.
        run: plan this one alone.
        say: is told in one line what happens.
        stopped: set by another thread, or by a signal.

    Raises:
        UsageError: the URL is wrong, or the Redis does not take us.
    """
    server = Server(Address.parse(url))
    planners: dict[str, Planner] = {}
    told: dict[str, str] = {}
    waits, reached = pauses(), None
    while not stopped.is_set():
        try:
            with server.faults():
                names = {member.decode() for member in server.redis.smembers(RUNS)}
                for name in sorted(names if run is None else names & {run}):
                    if name not in planners:
                        planners[name] = Planner(server, name, "sadp-dist serve", say=say)
                        planners[name].start()
                _announce(server, planners)
            if not reached:
                say(f"planning for {server.address}" + (f", run {run}" if run is not None else ""))
            waits, reached = pauses(), True
            _bury(planners, told, say)
            stopped.wait(LOOK)
        except Unreachable as problem:
            if reached is None:
                say(f"{problem}; trying on")
            reached = reached or False
            stopped.wait(next(waits))
    for name, planner in planners.items():
        planner.stop(timeout=TTL)
        with suppress(Unreachable), server.faults():
            server.redis.unlink(Keys(name).server)  # the planners inside the jobs take over
    server.close()


def _announce(server: Server, planners: dict[str, Planner]) -> None:
    """Tell the planners inside the jobs to leave the runs to these."""
    name = f"sadp-dist serve at {socket.gethostname()}:{os.getpid()}"
    with server.redis.pipeline(transaction=False) as pipe:
        for run, planner in planners.items():
            if planner.alive:
                pipe.set(Keys(run).server, name, px=int(TTL * 1000))
        pipe.execute()


def _bury(planners: dict[str, Planner], told: dict[str, str], say: Callable[[str], None]) -> None:
    """Tell of planners that have ended; the next look begins them anew, if their runs are still there.

    Raises:
        UsageError: one has ended since the Redis does not take us.
    """
    for run in [run for run, planner in planners.items() if not planner.alive]:
        failure = planners.pop(run).failure
        if isinstance(failure, UsageError):
            raise failure
        if told.get(run) != str(failure):
            told[run] = str(failure)
            say(f"run {run}: {failure}")
