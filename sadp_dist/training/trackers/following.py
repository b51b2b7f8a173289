"""Logs to a tracker in a thread, so that a slow or failing tracker does not affect training."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from sadp_dist.training.trackers import Open, TrackedRun, Tracker

PATIENCE = 60.0
"""Seconds to wait at the end of a run for a tracker."""


class Follower:
    """A tracker with a queue of epochs. A failed call is repeated with the next epoch.

    Args:
        name: of the tracker.
        open_tracker: opens the tracker; called in the thread.
        run: to log.
    """

    def __init__(self, name: str, open_tracker: Open, run: TrackedRun) -> None:
        self._name, self._open, self._tracked = name, open_tracker, run
        self._tracker: Tracker | None = None
        self._complained = False
        self._waiting: deque[tuple[int, dict[str, float]]] = deque()
        self._queue: SimpleQueue[tuple[int, dict[str, float]] | None] = SimpleQueue()
        self._failed = False  # the run
        self._thread = threading.Thread(target=self._run, name=f"sadp_dist {name}", daemon=True)
        self._thread.start()

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Queue an epoch's metrics."""
        self._queue.put((epoch, dict(figures)))

    def close(self, failed: bool) -> None:
        """End the log, and wait up to `PATIENCE` seconds until everything is logged."""
        self._failed = failed
        self._queue.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._complain(f"did not log everything within {PATIENCE:g} s")

    def _run(self) -> None:
        self._try(self._catch_up)
        while (epoch := self._queue.get()) is not None:
            self._waiting.append(epoch)
            self._try(self._catch_up)
        self._try(self._end)

    def _catch_up(self) -> Tracker:
        if self._tracker is None:
            self._tracker = self._open(self._tracked)
        while self._waiting:
            self._tracker.log(*self._waiting[0])
            self._waiting.popleft()
        return self._tracker

    def _end(self) -> None:
        self._catch_up().close(self._failed)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # no error of a tracker may stop the run
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            self._complain(f"cannot log the run's metrics ({reason})")

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            warnings.warn(f"{self._name} {what}; training continues", stacklevel=2)
