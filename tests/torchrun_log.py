"""What torchrun's agents log."""

from __future__ import annotations

import re

EXIT_BARRIER = re.compile(
    r"^(E\d{4} \S+ \d+ torch/distributed/elastic/agent/server/api\.py:\d+\] )Error waiting on exit barrier"
    r".*\n(?:\1.*\n)*?"
    r"\1torch\.distributed\.DistNetworkError: .*\n",
    re.M,
)


def without_exit_barrier(log: str) -> str:
    """A log without what an agent says when the one that has the rendezvous was done before it.

    That one leaves as soon as all have come to torchrun's barrier at the end, often before its answer
    has reached the others. torchrun has no option against it, and its exit status is 0 all the same.
    """
    return EXIT_BARRIER.sub("", log)
