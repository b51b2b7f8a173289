"""Parts of a real Ray cluster of two nodes die while two ranks train."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sadp_dist import connect
from sadp_dist.store import remove_run
from tests.faults.case import BOUNDARY, MIDDLE, Case, break_in
from tests.faults.job import Job
from tests.faults.rank import PRUNING, N
from tests.store.ray_cluster import RayCluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(nodes=1) as cluster:
        yield cluster


@contextmanager
def process_killed(cluster: RayCluster, snapshots: Path) -> Iterator[None]:
    cluster.kill_process(RUN)
    yield


@contextmanager
def node_killed(cluster: RayCluster, snapshots: Path) -> Iterator[None]:
    cluster.kill_node(cluster.node_of(RUN))
    yield
    cluster.add_node()


@contextmanager
def node_killed_with_snapshots(cluster: RayCluster, snapshots: Path) -> Iterator[None]:
    shutil.rmtree(snapshots)
    with node_killed(cluster, snapshots):
        yield


RUN = "job"
Fault = Callable[[RayCluster, Path], AbstractContextManager[None]]
FAULTS: dict[str, tuple[Fault, dict[str, Any]]] = {
    "kill -9 of the actor's process": (process_killed, {}),
    "kill -9 of the actor's node": (node_killed, {}),
    "kill -9 of the actor's node, on which its snapshots were": (node_killed_with_snapshots, {}),
}
CASES = [Case(fault, when, "Ray") for fault in FAULTS for when in (MIDDLE, BOUNDARY)]


def begin_away_from_the_head(cluster: RayCluster, options: dict[str, Any]) -> None:
    """Ray puts an actor that needs no processor on any node, and the head has to live."""
    while True:
        with connect("ray:auto", RUN, N, PRUNING, **options):
            if not cluster.is_head(cluster.node_of(RUN)):
                return
        remove_run("ray:auto", RUN)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_run_goes_on_or_stops_with_a_line(cluster, check_row, tmp_path, case):
    fault, options = FAULTS[case.fault]
    snapshots = tmp_path / "snapshots"
    options = {**options, "snapshot": str(snapshots)}
    begin_away_from_the_head(cluster, options)
    environment = {"RAY_ADDRESS": os.environ["RAY_ADDRESS"]}
    job = Job("ray:auto", tmp_path / "job", options, environment=environment)
    check_row(case, break_in(job, case.when, lambda: fault(cluster, snapshots)))
    remove_run("ray:auto", RUN)
