"""`sadp-dist serve` as a process, to kill, to stop and to start again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.faults.job import PATIENCE
from tests.forked import Forked


class Planner:
    """After `with` it is gone; what it says goes to a file.

    Args:
        url: of the store.
        log: grows with every start.
    """

    def __init__(self, url: str, log: Path) -> None:
        self._process: Forked | None = None
        self._command = ["-m", "sadp_dist", "serve", "--store", url]
        self._log = log

    def start(self) -> None:
        with self._log.open("a") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self._process = Forked(self._command, env=environment, stdout=log, stderr=log)

    def ready(self) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + PATIENCE
        while "planning for" not in self._log.read_text():
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def __enter__(self) -> Planner:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
