"""All checks, one after another, in a process of their own: one that hangs or crashes is a finding, too."""

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
"""What others that need it cannot look behind."""


def run_checks(options: DoctorOptions, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """What each check finds that has something to look at, as soon as it does.

    Args:
        options: what was typed.
        checks: the checks to make, in this order.

    Raises:
        UsageError: what was typed is wrong.
    """
    waiting = list(checks)
    failed: set[str] = set()
    while waiting:
        looking = _Looking(waiting, options, failed)
        try:
            for check in list(waiting):
                finding = looking.finding(check)
                waiting.remove(check)
                if finding is None:
                    continue
                yield finding
                if finding.state in FAILED:
                    failed.add(check.name)
                if looking.over:
                    break
        finally:
            looking.end()


class _Looking:
    """A child process that makes checks, and answers each with a line of JSON."""

    def __init__(self, checks: list[Check], options: DoctorOptions, failed: set[str]) -> None:
        self.over = False
        self._unread = b""
        self._answers, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._answers)
            _look_and_exit(checks, options, set(failed), answers)
        os.close(answers)

    def finding(self, check: Check) -> Finding | None:
        """Of the check whose turn it is; after one that hangs or crashes it is `over`.

        Raises:
            UsageError: what the person typed is wrong.
        """
        line = self._line(time.monotonic() + check.patience)
        if line is None:
            self.over = True
            return Finding(
                check.name, Status.BROKEN, f"does not end within {check.patience:g} s", check.mending
            )
        if not line:
            self.over = True
            return Finding(check.name, Status.BROKEN, self._end_of_child(), check.mending)
        answer: dict[str, Any] = json.loads(line)
        if "usage" in answer:
            raise UsageError(answer["usage"])
        return Finding(**{**answer, "state": Status(answer["state"])}) if answer else None

    def end(self) -> None:
        """Leave no process behind, and wait for none: the kernel may hold it, say at a disk that is gone."""
        os.close(self._answers)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, os.WNOHANG)

    def _line(self, deadline: float) -> bytes | None:
        """The next line; empty when the child has ended, None when the time is over."""
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
        return f"ends its process with {signal.Signals(-code).name if code < 0 else f'status {code}'}"


def _look_and_exit(checks: list[Check], options: DoctorOptions, failed: set[str], answers: int) -> NoReturn:
    """The child: what libraries print goes nowhere, and what they would do at the exit is left out."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        try:
            options.check()
            for check in checks:
                finding = _look(check, options, failed)
                if finding is not None and finding.state in FAILED:
                    failed.add(check.name)
                _send(answers, {} if finding is None else asdict(finding))
        except UsageError as error:
            _send(answers, {"usage": str(error)})
    finally:
        os._exit(0)


def _send(answers: int, answer: dict[str, Any]) -> None:
    os.write(answers, json.dumps(answer).encode() + b"\n")


def _look(check: Check, options: DoctorOptions, failed: set[str]) -> Finding | None:
    if not check.applies(options):
        return None
    missing = [name for name in check.needs if name in failed]
    if missing:
        return Finding(check.name, Status.SKIPPED, f"needs {', '.join(missing)}")
    try:
        state, found, *mend = check.look(options)
    except Exception as error:  # not its text, in which a password may be
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(where.filename).name}, line {where.lineno}"
        return Finding(check.name, Status.BROKEN, f"cannot be looked at ({place})", check.mending)
    mending = None if state in (Status.OK, Status.SKIPPED) else mend[0] if mend else check.mending
    return Finding(check.name, state, " ".join(found.split()), mending)
