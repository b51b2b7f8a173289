"""The process that runs the checks, one after another; and the parent's end of it.

A check can hang or take the process with it, and an error on a GPU can make every later call fail. So the
checks run in a process of their own, which is replaced when that happens.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from sadp_dist.selftest.part import Check, Figures, Skipped
from sadp_dist.selftest.setting import Setting

State = Literal["ok", "skipped", "failed", "cut"]
GRACE = 5.0
"""Seconds after its limit in which a check may still end by itself."""
END = 5.0
"""Seconds in which a process may end by itself."""
READY = "ready"
START = 120.0
"""Seconds that a process may take to start. From a cold network disk, torch alone takes a minute."""


@dataclass
class Outcome:
    """What became of a check.

    Attributes:
        state: "cut": it ran out of time; its figures are those that it had reported.
        seconds: that it took.
        figures: what it found.
        reason: why it was skipped, cut or failed, in a line.
        traceback: of a failure.
    """

    state: State
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    traceback: str = ""


class Worker:
    """Runs checks in a process, which starts with the first one and again after a crash.

    Args:
        log: a file for what the process prints.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: Any = None
        self._answers: Connection | None = None

    def run(self, check: Check, setting: Setting, limit: float) -> Outcome:
        """Run a check, for at most so many seconds and ``GRACE``."""
        if self._answers is None:
            self._start()
            answer = self._answer(START)
            if answer != READY:
                said = answer or f"the process does not start within {START:g} s"
                return self._end("failed", said, Outcome("failed"))
        assert self._answers is not None
        started = time.monotonic()
        latest = Outcome("cut")
        self._answers.send((check.name, check.run, replace(setting, ends=started + limit)))
        while True:
            answer = self._answer(started + limit + GRACE - time.monotonic())
            latest.seconds = time.monotonic() - started
            if answer is None:
                return self._end("cut", f"cut after {latest.seconds:.0f} s", latest)
            if isinstance(answer, str):
                return self._end("failed", answer, latest)
            if isinstance(answer, tuple):
                outcome: Outcome = answer[0]
                if not answer[1]:
                    self.close()
                return outcome
            latest.figures = answer

    def close(self) -> None:
        """End the process and all that it has started."""
        if self._process is not None:
            assert self._answers is not None
            with suppress(OSError):
                self._answers.close()  # it ends by itself, unless it hangs
            self._process.join(END)
            self._kill()
            self._process.join()
            self._process = self._answers = None

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._answers, theirs = context.Pipe()
        # Not a daemon: the workers of a loader are its children.
        self._process = context.Process(target=_work, args=(theirs, self._log), daemon=False)
        self._process.start()
        theirs.close()

    def _answer(self, seconds: float) -> Any:
        """Return the next answer; None if none comes in time, a sentence if the process has ended."""
        assert self._answers is not None
        if not self._answers.poll(max(seconds, 0.0)):
            return None
        try:
            return self._answers.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            return f"the process ended with {how}; see {self._log.name}"

    def _end(self, state: State, reason: str, latest: Outcome) -> Outcome:
        if state == "cut":
            self._kill()
        self.close()
        return replace(latest, state=state, reason=reason)


def _work(answers: Connection, log: Path) -> None:
    """Answer each (name, function, setting) with figures, any number of times, and (outcome, usable)."""
    os.setsid()  # so that the parent can end everything that the checks start
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler reports on itself
    import sadp_dist.selftest  # noqa: F401 - before the clock of the first check starts

    answers.send(READY)
    with suppress(EOFError):
        while True:
            name, run, setting = answers.recv()
            print(f"== {name}", flush=True)
            outcome = run_here(run, replace(setting, report=answers.send))
            answers.send((outcome, _tidied(setting)))


def run_here(run: Callable[[Setting], Figures], setting: Setting) -> Outcome:
    """Run a check in this process."""
    started = time.monotonic()
    try:
        outcome = Outcome("ok", figures=run(setting))
    except Skipped as reason:
        outcome = Outcome("skipped", reason=str(reason))
    except Exception as error:
        shown = " ".join(str(error).split())[:300]
        outcome = Outcome(
            "failed", reason=f"{type(error).__name__}: {shown}", traceback=traceback.format_exc()
        )
        print(outcome.traceback, flush=True)
    outcome.seconds = time.monotonic() - started
    return outcome


def _tidied(setting: Setting) -> bool:
    """Free what a check has left on the device; return whether the device still answers.

    After some errors, every call of CUDA fails.
    """
    import torch

    gc.collect()
    try:
        if setting.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        return True
    except RuntimeError:
        return False
