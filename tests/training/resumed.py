"""A run that is copied, cut off at one of its checkpoints, and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.checkpoint import Checkpoints
from tests.training.conftest import newest_state
from tests.training.test_resume import TIMES


def records(run_dir: Path) -> list[dict[str, Any]]:
    """What a run recorded, without its times."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(run_dir)]


def resumes_alike(raw: dict[str, Any], name: str) -> None:
    """Assert that a finished run, resumed at a checkpoint, has the same records and weights bit for bit.

    Args:
        raw: the configuration of the run, which is called "straight".
        name: of the checkpoint.
    """
    straight = parse_config(raw)
    names = [path.name for path in Checkpoints(straight.run_dir).all()]
    assert name in names
    resumed = parse_config({**raw, "name": f"from-{name}"})
    shutil.copytree(straight.run_dir, resumed.run_dir)
    for later in names[names.index(name) + 1 :]:
        shutil.rmtree(resumed.run_dir / "checkpoints" / later)
    (resumed.run_dir / "config.yaml").write_text(
        (straight.run_dir / "config.yaml").read_text().replace("name: straight", f"name: {resumed.name}")
    )
    train(resumed, "resume")
    assert records(resumed.run_dir) == records(straight.run_dir)
    expected, found = newest_state(straight.run_dir), newest_state(resumed.run_dir)
    assert all(torch.equal(expected["network"][key], found["network"][key]) for key in found["network"])
