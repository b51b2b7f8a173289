"""A small run over the digits, which the launch scripts start, and what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EPOCHS = 2
SUBSETS = [721, 433]  # of the 1,442 digits, at r = 0.5 and r_max = 0.7


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a user's shell: this one without the variables that a script reads."""
    kept = ("HOME", "LANG", "PATH", "TMPDIR", "SLURM_CONF")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "VENV": sys.prefix,
        "OMP_NUM_THREADS": "1",
        "NPROC": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.fixture
def recipe(digits: Path, tmp_path: Path) -> Path:
    """A configuration of two epochs; its runs go to `runs/` beside it."""
    images = {"train": str(digits), "train_split": "train", "test": str(digits), "test_split": "test"}
    raw: dict[str, Any] = {
        "name": "two",
        "output": str(tmp_path / "runs" / "{name}"),
        "data": {**images, "loader": "torch", "workers": 0, "image_size": 8, "classes": 10},
        "network": {"name": "small_cnn", "time_steps": 2},
        "training": {"epochs": EPOCHS, "batch_size": 64, "optimizer": "adamw", "learning_rate": 0.002},
        "pruning": {"ratio": 0.5, "max_ratio": 0.7, "schedule": "paper", "min_probability": 0.3},
    }
    path = tmp_path / "digits.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture
def script(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of launch/ with arguments and variables, to its end."""

    def run(name: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "launch" / name, *map(str, arguments)],
            env={**environment, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run
