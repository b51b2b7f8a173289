"""`sbatch launch/slurm.sbatch` in a real Slurm of two nodes; skipped where Slurm is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sadp_dist.training import read_metrics
from tests.launch.conftest import ROOT, SUBSETS
from tests.launch.slurm_cluster import SlurmCluster
from tests.network import Network
from tests.store.redis_server import until

pytestmark = pytest.mark.slow


def test_a_job_goes_on_after_its_time_was_up_and_ends(recipe, environment, tmp_path):
    with Network("node0", "node1") as network, SlurmCluster(tmp_path / "slurm", network) as slurm:
        log, checkpoints = tmp_path / "job.log", tmp_path / "runs" / "two" / "checkpoints"
        job = slurm.submit(
            *("--nodes", "2", "--output", log, "--chdir", ROOT, ROOT / "launch" / "slurm.sbatch"),
            *(recipe, "training.checkpoint_every=1"),
            **environment,
            REDIS="1",
            REDIS_FOLDER=str(tmp_path / "redis"),
        )
        until(lambda: any(checkpoints.glob("e0000-b*")), otherwise=slurm.logs)
        slurm.ask("scancel", "--batch", "--signal=USR1", job)  # as --signal=B:USR1@120 does
        until(lambda: "JobState=PENDING" in slurm.ask("scontrol", "show", "job", job), otherwise=slurm.logs)
        slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # it would wait for two minutes
        assert slurm.wait(job) == "COMPLETED", log.read_text()
    check(log.read_text(), tmp_path / "runs" / "two")


def check(said: str, run_dir: Path) -> None:
    assert said.count("MASTER_ADDR=198.") == 2
    assert "the time limit is near: the job goes back to the queue" in said
    assert "0: resuming at epoch 1 of " in said
    *epochs, end = read_metrics(run_dir)
    assert [epoch["examples"] for epoch in epochs] == SUBSETS
    assert (end["event"], end["world_size"]) == ("end", 2)
