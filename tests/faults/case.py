"""One fault at one moment and what came of it, as docs/reliability.md has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.faults.job import Ended, Job

MIDDLE = "middle"  # of an epoch: both ranks push
BOUNDARY = "boundary"  # between two: rank 0 has asked for its next shard, rank 1 not yet
GOES_ON = "continues"


@dataclass(frozen=True)
class Outcome:
    """What a fault did to a run.

    Attributes:
        happens: what the document says.
        longest: the longest time that a call to the store took, in seconds; None where nobody looked.
    """

    happens: str
    longest: float | None


@dataclass(frozen=True)
class Case:
    """A row of the table of faults.

    Attributes:
        fault: what happens to the run.
        when: `MIDDLE` or `BOUNDARY`.
        store: where the scores live.
    """

    fault: str
    when: str
    store: str

    def __str__(self) -> str:
        return f"{self.store}: {self.fault}, {self.when}"


def break_in(job: Job, when: str, fault: Callable[[], AbstractContextManager[object]]) -> Outcome:
    """Start a job, let a fault begin at its moment and end again, and see what comes of it.

    Args:
        job: not yet started.
        when: `MIDDLE` or `BOUNDARY`.
        fault: it lasts as long as entering and leaving it take.
    """
    if when == BOUNDARY:
        job.hold(1, "ask 2")
    with job:
        if when == BOUNDARY:
            job.reached(1, "ask 2")
            job.waits_for(1)
        else:
            job.reached(0, "push 1 10")
        with fault():
            job.release()
        return outcome(job, job.end())


def outcome(job: Job, ended: Sequence[Ended]) -> Outcome:
    """What the ranks came to: all of them ended as in a run without a fault, or all with one line."""
    if all(rank.status == 0 for rank in ended):
        job.check_same_as_unbroken()
        return Outcome(GOES_ON, max(rank.longest for rank in ended))
    for rank in ended:
        assert rank.status == 1 and len(rank.said.splitlines()) == 1, f"{rank.status}: {rank.said}"
    lines = dict.fromkeys(f"“{without_particulars(rank.said)}”" for rank in ended)
    return Outcome(f"stops: {' and '.join(lines)}", None)


def without_particulars(line: str) -> str:
    """A message as the document has it: without addresses, and how exactly they were found not to answer."""
    line = re.sub(r"(localhost|\d+\.\d+\.\d+\.\d+):\d+", "HOST:PORT", line)
    line = re.sub(r"cannot be reached \(.*?\)", "did not answer within 5 s", line)
    # The rank's time may be up before that of the first try which was not answered.
    return line.replace("the store does not answer", "redis://HOST:PORT/0 did not answer within 5 s").strip()
