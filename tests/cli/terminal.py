"""Commands at a terminal of their own, and what they show there."""

from __future__ import annotations

import os
import pty
import re
import select
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.forked import Forked


class Screen:
    """What a command has written to its terminal."""

    def __init__(self, terminal: int) -> None:
        self.terminal, self.text = terminal, ""

    def wait_for(self, pattern: str, timeout: float = 240) -> None:
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.terminal], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"no {pattern!r} in {self.text}"
            self._read()

    def exit_status(self, process: Forked, timeout: float = 240) -> int:
        """Return the exit status of the command, which ends only if somebody reads what it still writes."""
        deadline = time.monotonic() + timeout
        while process.poll() is None:
            assert time.monotonic() < deadline, f"the command did not end after {self.text}"
            if select.select([self.terminal], [], [], 0.05)[0]:
                with suppress(OSError):  # Linux reports the end of a terminal as an error
                    self._read()
        return process.wait()

    def _read(self) -> None:
        written = os.read(self.terminal, 10_000).decode(errors="replace")
        self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)  # without colours


@contextmanager
def at_a_terminal(*arguments: object) -> Iterator[tuple[Forked, Screen]]:
    """A command that runs at a terminal of its own, of the smallest size in use."""
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = ["-m", "sadp_dist", *arguments]
    environment = {**os.environ, "TERM": "xterm"}
    process = Forked(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        yield process, Screen(terminal)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
