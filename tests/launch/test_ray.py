"""`launch/ray_job.sh` submits to a real Ray cluster, whose workers train; the Ray Train example does, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient

from sadp_dist.store import attach, list_runs
from sadp_dist.training import read_metrics
from tests.examples.test_examples import ENVIRONMENT, EXAMPLES, trained_on_what_was_planned
from tests.forked import run_forked
from tests.launch.conftest import EPOCHS, ROOT, SUBSETS
from tests.ports import free_port
from tests.store.ray_cluster import RayCluster
from tests.store.redis_server import until

pytestmark = [
    pytest.mark.slow,
    # Ray leaves log files of its workers open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def dashboard():
    address = f"http://127.0.0.1:{(port := free_port())}"
    with pytest.MonkeyPatch.context() as patch:
        # A job's "python" is the one that the cluster's nodes have found when they were started.
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        # One node: a second one here would unpack a job's files again while workers of the first import them.
        with RayCluster(dashboard_port=port, cpus=2):
            until(lambda: takes_jobs(address))
            yield address


def takes_jobs(address: str) -> bool:
    """Whether the cluster's dashboard and what starts jobs are up, which they are last."""
    try:
        return bool(JobSubmissionClient(address).submit_job(entrypoint="true"))
    except (OSError, RuntimeError):  # those of the client's own library are OSErrors, too
        return False


def test_a_run_goes_to_its_end_with_its_scores_in_the_cluster(script, recipe, dashboard, tmp_path):
    done = script("ray_job.sh", recipe, RAY_API_SERVER_ADDRESS=dashboard, WORKERS="2", FOLDER=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    *epochs, end = read_metrics(tmp_path / "runs" / "two")
    assert [epoch["examples"] for epoch in epochs] == SUBSETS
    assert (end["event"], end["world_size"]) == ("end", 2)
    with attach("ray:auto", "two") as store:
        stats = store.stats()
    assert (stats.epoch, stats.subset_size, stats.pushed_scores) == (EPOCHS - 1, SUBSETS[-1], sum(SUBSETS))


def test_what_is_wrong_is_said_by_the_driver_in_one_line(recipe, dashboard):
    driver = [sys.executable, ROOT / "launch" / "ray_train.py", recipe, "data.train=nowhere"]
    done = subprocess.run(driver, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    *_, said = done.stderr.splitlines()  # before it, Ray may say what it likes
    missing = "data.train='nowhere' does not exist; write .beton files with sadp-dist beton"
    assert said == f"ray_train.py: {missing}"
    assert "Traceback" not in done.stderr and done.stderr.count("ray_train.py: ") == 1


def test_the_example_trains_in_the_cluster(dashboard, tmp_path):
    environment = {**ENVIRONMENT, "RAY_ADDRESS": os.environ["RAY_ADDRESS"], "HOME": str(tmp_path)}
    done = run_forked([EXAMPLES / "ray_train_digits.py"], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr  # Ray's driver may lose the last of the epochs' lines
    assert set(re.findall(r"epoch +\d+: trained on (\d+), test accuracy", said)) == {"700"}
    assert trained_on_what_was_planned(tmp_path / "ray_train_digits.npz", [(700, 0.0)] * 10)
    (accuracy,) = re.findall(r"^test accuracy after the last epoch: ([\d.]+)%$", done.stdout, re.M)
    assert float(accuracy) > 90
    (kept,) = [run for run in list_runs("ray:auto") if run["run"] == "digits"]
    assert kept["epoch"] == 9  # the actor can still be asked
