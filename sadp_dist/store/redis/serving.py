"""Planners for all runs of a Redis, outside the jobs that train."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sadp_dist.errors import UsageError
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.redis.address import Address
from sadp_dist.store.redis.directory import Directory
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
    address = Address.parse(url)
    directory = Directory(address)
    planners: dict[str, Planner] = {}
    told: dict[str, str] = {}
    waits, reached, complained = pauses(), False, False
    while not stopped.is_set():
        try:
            names = directory.names()
        except Unreachable as problem:  # once it was reached, the planners say so
            if not reached and not complained:
                say(f"{problem}; trying on")
                complained = True
            stopped.wait(next(waits))
            continue
        if not reached:
            say(f"planning for {address}" + (f", run {run}" if run is not None else ""))
        waits, reached = pauses(), True
        for name in names:
            if name not in planners and run in (None, name):
                planners[name] = Planner(Server(address), name, "sadp-dist serve", outside=True, say=say)
                planners[name].start()
        _bury(planners, told, say)
        stopped.wait(LOOK)
    for planner in planners.values():
        planner.stop(timeout=TTL)
    directory.close()


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
