"""A rank of a real training is killed: torchrun starts it again, and it ends as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from sadp_dist.training import load_config, read_metrics
from tests.faults.case import GOES_ON, MIDDLE, Case, Outcome
from tests.faults.torchrun import ENVIRONMENT
from tests.forked import run_forked, run_ranks
from tests.forked_commands import ForkedCommands
from tests.store.redis_server import RedisServer
from tests.training.conftest import newest_state
from tests.training.test_resume import HELD, TIMES, kill_9, wait_for_checkpoint_in_epoch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


PLAIN = {name: value for name, value in ENVIRONMENT.items() if name != "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"}
"""As a user's own torchrun has it: its store outlives the ranks, with the addresses of killed ones."""
CASES = [Case("kill -9 of a rank of `sadp-dist train --resume`, `torchrun --max-restarts`", MIDDLE, "Redis")]


def recipe(folder: Path, name: str, url: str) -> Path:
    images = str(folder / "images")
    data = {"train": images, "train_split": "train", "test": images, "test_split": "test"}
    path = folder / f"{name}.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": name,
                "output": str(folder / "{name}"),
                "data": {**data, "loader": "torch", "workers": 0, "image_size": 8, "classes": 10},
                "network": {"name": "small_cnn", "time_steps": 2},
                "training": {"epochs": 3, "batch_size": 64, "checkpoint_every": 4},
                "pruning": {"ratio": 0.5, "max_ratio": 0.7, "min_probability": 0.3},
                "store": {"url": url},
            }
        )
    )
    return path


def start(recipe: Path, forks: ForkedCommands) -> subprocess.Popen[bytes]:
    """Two ranks, which torchrun starts again up to two times; at first, they wait in the second epoch."""
    with recipe.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run"),
                *("--nproc-per-node", "2", "--max-restarts", "2"),
                *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
                *(str(HELD), "1", "train", str(recipe), "--resume"),
            ],
            env={**PLAIN, **forks.found},
            stdout=log,
            stderr=log,
        )


def kill_rank(job: subprocess.Popen[bytes], rank: int) -> None:
    """kill -9."""
    children = psutil.Process(job.pid).children(recursive=True)
    (process,) = (child for child in children if child.environ().get("RANK") == str(rank))
    process.kill()


def observe(case: Case, folder: Path) -> Outcome:
    assert run_forked([ROOT / "examples" / "digits_images.py", folder / "images"]).returncode == 0
    with RedisServer(folder / "redis", aof=True) as redis, ForkedCommands() as forks:
        recipes = [recipe(folder, name, redis.url) for name in ("undisturbed", "disturbed")]
        job = start(recipes[1], forks)
        try:
            checkpoints = load_config(recipes[1]).run_dir / "checkpoints"
            wait_for_checkpoint_in_epoch(checkpoints, 1, job)
            kill_rank(job, 1)
            undisturbed = run_ranks(["-m", "sadp_dist", "train", recipes[0]], 2, env=ENVIRONMENT)
            assert undisturbed.returncode == 0, undisturbed.stderr
            assert job.wait(240) == 0, recipes[1].with_suffix(".log").read_text()
        finally:
            if job.poll() is None:
                kill_9(job)
    assert "resuming at epoch 2 of " in recipes[1].with_suffix(".log").read_text()
    check_same(*(load_config(path).run_dir for path in recipes))
    return Outcome(GOES_ON, None)


def check_same(undisturbed: Path, disturbed: Path) -> None:
    """Bit by bit the same network in the end, and the same subsets and losses on the way."""
    expected, got = (newest_state(run_dir)["network"] for run_dir in (undisturbed, disturbed))
    assert expected and all(torch.equal(tensor, got[name]) for name, tensor in expected.items())
    expected_records, records = (
        [
            {key: value for key, value in record.items() if key not in TIMES}
            for record in read_metrics(run_dir)
            if record["event"] == "epoch"
        ]
        for run_dir in (undisturbed, disturbed)
    )
    assert len(expected_records) == len(records) == 3
    for record, expected_record in zip(records, expected_records, strict=True):
        assert record == pytest.approx(expected_record)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_weights_are_those_of_an_undisturbed_training(running, check_row, case):
    check_row(case, running[case].result())
