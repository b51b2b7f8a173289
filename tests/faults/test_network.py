"""The network between one rank and the store is cut, with a cable that is really pulled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.case import BOUNDARY, MIDDLE, Case, Outcome, break_in
from tests.faults.job import Job
from tests.network import Network
from tests.store.redis_server import RedisServer

pytestmark = pytest.mark.slow


FAULTS: dict[str, tuple[float | None, Mapping[str, Any]]] = {
    "network between rank 1 and the store cut for 20 s": (20.0, {}),
    "network between rank 1 and the store cut for longer than `timeout`": (None, {"timeout": 20}),
}
CASES = [Case(fault, when, "Redis") for fault in FAULTS for when in (MIDDLE, BOUNDARY)]


def observe(case: Case, folder: Path) -> Outcome:
    seconds, options = FAULTS[case.fault]
    with Network("node1") as network, RedisServer(folder / "redis", aof=True, host=network.here) as redis:
        (node1,) = network.hosts
        job = Job(redis.url, folder / "job", options, networks={1: node1.namespace})
        return break_in(job, case.when, lambda: node1.unplugged(seconds))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_run_goes_on_or_stops_with_a_line_on_every_rank(running, check_row, case):
    check_row(case, running[case].result())
