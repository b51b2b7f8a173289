"""Runs the checks in a child process, so that a check that hangs or crashes is a finding."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from sadp_dist.doctor.check import CHECKS, Check, Finding, Status
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.errors import UsageError

FAILED = (Status.BROKEN, Status.ABSENT, Status.SKIPPED)
"""States of a check after which the checks that need it are skipped."""


def run_checks(options: DoctorOptions, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Run the checks that apply, and yield each finding as soon as it is known.

    Args:
        options: of the command.
        checks: to run, in this order.

    Raises:
        UsageError: an option is wrong.
    """
    waiting = list(checks)
    failed: set[str] = set()
    while waiting:
        child = _Child(waiting, options, failed)
        try:
            for check in list(waiting):
                finding = child.finding(check)
                waiting.remove(check)
                if finding is None:
                    continue
                yield finding
                if finding.state in FAILED:
                    failed.add(check.name)
                if child.ended:
                    break
        finally:
            child.end()


class _Child:
    """A child process that runs checks and answers each with a line of JSON.

    Attributes:
        ended: whether a check hung or crashed, so that no more answers follow.
    """

    def __init__(self, checks: list[Check], options: DoctorOptions, failed: set[str]) -> None:
        self.ended = False
        self._unread = b""
        self._answers, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._answers)
            _run_and_exit(checks, options, set(failed), answers)
        os.close(answers)

    def finding(self, check: Check) -> Finding | None:
        """Return the finding of the next check; None if the check does not apply.

        Raises:
            UsageError: an option is wrong.
        """
        line = self._line(time.monotonic() + check.patience)
        if line is None:
            self.ended = True
            found = f"does not finish within {check.patience:g} s"
            return Finding(check.name, Status.BROKEN, found, check.mending)
        if not line:
            self.ended = True
            return Finding(check.name, Status.BROKEN, self._end_of_child(), check.mending)
        answer: dict[str, Any] = json.loads(line)
        if "usage" in answer:
            raise UsageError(answer["usage"])
        return Finding(**{**answer, "state": Status(answer["state"])}) if answer else None

    def end(self) -> None:
        """Kill the child without waiting for it: the kernel may block it, say on a lost network disk."""
        os.close(self._answers)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, os.WNOHANG)

    def _line(self, deadline: float) -> bytes | None:
        """Return the next line; empty if the child has ended, None after the deadline."""
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                return None
            data = os.read(self._answers, 65536)
            if not data:
                return b""
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _end_of_child(self) -> str:
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        return f"crashes with {signal.Signals(-code).name if code < 0 else f'exit status {code}'}"


def _run_and_exit(checks: list[Check], options: DoctorOptions, failed: set[str], answers: int) -> NoReturn:
    """Run the checks in the child, without the output and the exit handlers of libraries."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        try:
            options.check()
            for check in checks:
                finding = _run(check, options, failed)
                if finding is not None and finding.state in FAILED:
                    failed.add(check.name)
                _send(answers, {} if finding is None else asdict(finding))
        except UsageError as error:
            _send(answers, {"usage": str(error)})
    finally:
        os._exit(0)


def _send(answers: int, answer: dict[str, Any]) -> None:
    os.write(answers, json.dumps(answer).encode() + b"\n")


def _run(check: Check, options: DoctorOptions, failed: set[str]) -> Finding | None:
    if not check.applies(options):
        return None
    missing = [name for name in check.needs if name in failed]
    if missing:
        return Finding(check.name, Status.SKIPPED, f"needs {', '.join(missing)}")
    try:
        state, found, *mend = check.look(options)
    except Exception as error:  # without its text, which may contain a password
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(where.filename).name}, line {where.lineno}"
        return Finding(check.name, Status.BROKEN, f"the check fails ({place})", check.mending)
    mending = None if state in (Status.OK, Status.SKIPPED) else mend[0] if mend else check.mending
    return Finding(check.name, state, " ".join(found.split()), mending)
