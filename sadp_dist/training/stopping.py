"""Ends or saves a run after the current step if any rank asks for it, on all ranks together."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist

from sadp_dist.training.processes import Process

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SIGTERM: Kubernetes, Slurm and torchrun. SIGINT: Ctrl-C. SIGUSR1: Slurm's warning, `--signal=USR1@120`."""
SAME = 2.0
"""Seconds in which another signal is the same request: after Ctrl-C torchrun sends its ranks one more."""


class Asked(NamedTuple):
    """What all ranks do after a step.

    Attributes:
        stop: the number of the signal after which to save and stop; 0 to go on.
        save: whether to save a checkpoint.
    """

    stop: int
    save: bool


class StopRequest:
    """Whether a signal asked any rank to stop. Within `with`, a first signal is noted.

    A second one, later than 2 s, does what it would have done without this. Signals are noted in the main
    thread only; in another one, nothing asks to stop.

    Args:
        process: this rank.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._signal, self._noted = 0, 0.0
        self._before: dict[int, Any] = {}
        self._agreeing: Any = None
        self._agreed = torch.zeros(2, dtype=torch.int64)  # signal, and whether to save

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            noticed = (n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN)  # as nohup asks
            self._before = {number: signal.signal(number, self._note) for number in noticed}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None and self._agreeing is not None:
            self._agreeing.wait()

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._signal:
            self._signal, self._noted = number, now
        elif now > self._noted + SAME:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)

    def after_step(self, save: bool = False) -> Asked:
        """Return what to do now, the same on all ranks: to stop, or to save as a rank asked by `save`.

        Every rank calls it after each step. Nobody waits: the ranks tell each other in the background, and
        know it one step later.
        """
        if not self._process.communicates:
            return Asked(self._signal, save)
        asked = Asked(0, False)
        if self._agreeing is not None:
            self._agreeing.wait()
            asked = Asked(int(self._agreed[0]), bool(self._agreed[1]))
            if asked.stop:
                return asked
        self._agreed[0], self._agreed[1] = self._signal, save and not asked.save
        self._agreeing = dist.all_reduce(self._agreed, dist.ReduceOp.MAX, async_op=True)
        return asked
