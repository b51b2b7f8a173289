"""Ranks and nodes of a torchrun job die, leave and join: what is drawn is trained on once an epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.case import BOUNDARY, GOES_ON, MIDDLE, Case, Outcome
from tests.faults.torchrun import ElasticJob
from tests.store.redis_server import RedisServer

pytestmark = pytest.mark.slow


def lose_rank_0_in_the_middle(job: ElasticJob) -> None:
    job.wait(job.trains(world_size=2, epoch=1))
    job.kill_rank(0)


def lose_rank_0_at_the_boundary(job: ElasticJob) -> None:
    job.hold(2, ranks=[1])
    job.wait(job.trains(world_size=2, epoch=1))
    job.waits_for(1)
    job.kill_rank(0)
    job.release()


def nodes_leave_and_join(job: ElasticJob) -> None:
    job.hold(1, ranks=range(2))  # on a busy machine the first node could be done before the second comes
    job.join()
    job.wait(lambda: job.attempts()[-1:] != [] and job.attempts()[-1].world_size == 2)
    job.release()
    job.wait(job.trains(world_size=2, epoch=1))
    job.kill_node()
    job.wait(job.trains(world_size=1, epoch=1))
    job.hold(2, ranks=range(3))
    job.join()
    job.join()
    job.wait(lambda: job.attempts()[-1][:2] == (3, (2, 0)))
    job.release()
    job.wait(job.trains(world_size=3, epoch=3))
    job.kill_node()
    job.wait(job.trains(world_size=2, epoch=4))


RANK = "kill -9 of rank 0, which plans, `torchrun --max-restarts`"
NODES = "kill -9 of nodes, then others join, `torchrun --nnodes 1:3`"
FAULTS: dict[Case, tuple[Callable[[ElasticJob], None], dict[str, Any]]] = {
    Case(RANK, MIDDLE, "Redis"): (lose_rank_0_in_the_middle, {"nodes": "1", "ranks": 2}),
    Case(RANK, BOUNDARY, "Redis"): (lose_rank_0_at_the_boundary, {"nodes": "1", "ranks": 2}),
    Case(NODES, f"{MIDDLE} and {BOUNDARY}", "Redis"): (nodes_leave_and_join, {"nodes": "1:3"}),
}
CASES = [*FAULTS]


def observe(case: Case, folder: Path) -> Outcome:
    happen, size = FAULTS[case]
    with (
        RedisServer(folder / "redis", aof=True) as redis,
        ElasticJob(redis.url, folder / "job", **size) as job,
    ):
        happen(job)
        job.end()
        job.check_same_as_undisturbed()
    return Outcome(GOES_ON, None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_example_drawn_is_trained_on_exactly_once(running, check_row, case):
    check_row(case, running[case].result())
