"""Planners for all runs of a Redis, outside the jobs that train."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sadp_dist.errors import UsageError
from sadp_dist.store.backends.redis.address import Address
from sadp_dist.store.backends.redis.directory import Directory
from sadp_dist.store.backends.redis.lease import TTL
from sadp_dist.store.backends.redis.planner import Planner
from sadp_dist.store.backends.redis.resting import Resting, woken
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.client.retry import pauses
from sadp_dist.store.connection import Unreachable

LOOK = 1.0
"""Seconds between looks for new runs."""
IDLE = 300.0
"""Seconds without a word from a run's ranks after which its planner, and its scores in memory, are let go."""


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
    runs = _Runs(address, say)
    waits, reached, complained = pauses(), False, False
    with Directory(address) as directory:
        while not stopped.is_set():
            try:
                names = [name for name in directory.names() if run in (None, name)]
                if not reached:
                    say(f"planning for {address}" + (f", run {run}" if run is not None else ""))
                waits, reached = pauses(), True
                runs.look_after(names)
            except Unreachable as problem:  # once it was reached, the planners say so
                if not reached and not complained:
                    say(f"{problem}; trying on")
                    complained = True
                stopped.wait(next(waits))
                continue
            stopped.wait(LOOK)
    runs.stop()


class _Runs:
    """The planners of some runs, and the runs that need none at the moment."""

    def __init__(self, address: Address, say: Callable[[str], None]) -> None:
        self._address, self._say = address, say
        self._planners: dict[str, Planner] = {}
        self._resting: dict[str, Resting] = {}
        self._told: dict[str, str] = {}

    def look_after(self, names: list[str]) -> None:
        """Have a planner for each run that is there, unless it rests.

        Raises:
            UsageError: the Redis does not take us.
            Unreachable: it cannot be asked who rests.
        """
        self._bury()
        self._resting = {name: rest for name, rest in self._resting.items() if name in names}
        for name in woken(self._resting):
            del self._resting[name]
        for name in names:
            if name not in self._planners and name not in self._resting:
                planner = Planner(
                    Server(self._address), name, "sadp-dist serve", outside=True, idle=IDLE, say=self._say
                )
                self._planners[name] = planner
                planner.start()

    def stop(self) -> None:
        """End all planners."""
        for planner in self._planners.values():
            planner.stop(timeout=TTL)

    def _bury(self) -> None:
        """Tell of planners that have ended; the next look begins them anew, if their runs are still there.

        Raises:
            UsageError: one has ended since the Redis does not take us.
        """
        for run in [run for run, planner in self._planners.items() if not planner.alive]:
            planner = self._planners.pop(run)
            if planner.resting is not None:
                self._resting[run] = planner.resting
                self._say(f"run {run}: rests, as nobody has written to it for {IDLE:g} s")
                continue
            if isinstance(planner.failure, UsageError):
                raise planner.failure
            if self._told.get(run) != str(planner.failure):
                self._told[run] = str(planner.failure)
                self._say(f"run {run}: {planner.failure}")
