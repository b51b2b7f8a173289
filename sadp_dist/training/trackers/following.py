"""Feeds a tracker in a thread: training does not wait for it, and goes on when it fails."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from sadp_dist.training.trackers import Open, TrackedRun, Tracker

PATIENCE = 60.0
"""Seconds that a tracker has at the end for what it has not taken yet."""


class Follower:
    """A tracker and the epochs that it has not taken yet. What fails is tried again with the next epoch.

    Args:
        name: of the tracker.
        open_tracker: begins to track; called in the thread.
        run: what is tracked.
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
        """Have an epoch's figures tracked."""
        self._queue.put((epoch, dict(figures)))

    def close(self, failed: bool) -> None:
        """Say that the run has ended, and wait until all is tracked, but not for ever."""
        self._failed = failed
        self._queue.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._complain(f"has not taken everything after {PATIENCE:g} s")

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
        except Exception as error:  # whatever it is, it is not worth a run
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            self._complain(f"does not take the run's figures ({reason})")

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            warnings.warn(f"{self._name} {what}; training goes on", stacklevel=2)
