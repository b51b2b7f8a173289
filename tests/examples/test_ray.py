"""The Ray Train example, with two workers on a cluster of its own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sadp_dist.store import list_runs
from tests.examples.test_examples import ENVIRONMENT, EXAMPLES, trained_on_what_was_planned
from tests.store.ray_cluster import RayCluster, free_port

pytestmark = pytest.mark.slow


def test_ray_train(tmp_path):
    pytest.importorskip("ray.train")
    # A node has one CPU: a worker each. Ray Train asks the dashboard whether its controller lives.
    with RayCluster(nodes=1, dashboard_port=free_port()) as cluster:
        done = subprocess.run(
            [sys.executable, EXAMPLES / "ray_train_digits.py"],
            cwd=tmp_path,
            env={**ENVIRONMENT, "RAY_ADDRESS": cluster.address, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (kept,) = list_runs("ray:auto")
    found = re.findall(r"epoch +(\d+): trained on (\d+), test accuracy ([\d.]+)%", done.stdout + done.stderr)
    by_epoch = {int(epoch): (int(count), float(accuracy)) for epoch, count, accuracy in found}
    epochs = [by_epoch[epoch] for epoch in range(1, 11)]
    assert [count for count, _ in epochs] == [700] * 10
    assert trained_on_what_was_planned(tmp_path / "ray_train_digits.npz", epochs)
    assert epochs[-1][1] > 90
    assert (kept["run"], kept["epoch"]) == ("digits", 9)  # the actor can still be asked
