"""Whole runs on real images: the digits, trained by `python -m sadp_dist` as at a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sadp_dist.loading import write_beton
from tests.forked import run_ranks


@pytest.fixture(scope="session")
def digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits as `images/`, `train.beton` and `test.beton`."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(digits, folder / "images")
    for split in ("train", "test"):
        write_beton(folder / "images", folder / f"{split}.beton", split=split)
    return folder


@pytest.fixture(scope="session")
def few_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """160 of the digits to train on and 80 to test on, as a `data:` section."""
    folder = tmp_path_factory.mktemp("few-digits")
    for split, count in (("train", 16), ("test", 8)):
        for of_class in sorted((digits / "images" / split).iterdir()):
            (folder / split / of_class.name).mkdir(parents=True)
            for image in sorted(of_class.iterdir())[:count]:
                shutil.copy(image, folder / split / of_class.name)
    return {"train": str(folder), "test": str(folder)}


@pytest.fixture
def recipe(digits: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A small run over the digits; sections given replace values."""

    def make(loader: str = "torch", **sections: Any) -> dict[str, Any]:
        if loader == "ffcv":
            data = {"train": str(digits / "train.beton"), "test": str(digits / "test.beton")}
        else:
            images = str(digits / "images")
            data = {
                "train": images,
                "test": images,
                "train_split": "train",
                "test_split": "test",
                "workers": 0,
            }
        raw: dict[str, Any] = {
            "name": "run",
            "output": str(tmp_path / "{name}"),
            "data": {**data, "loader": loader, "image_size": 8, "classes": 10},
            "network": {"name": "small_cnn", "time_steps": 2},
            "training": {"epochs": 3, "batch_size": 64, "optimizer": "adamw", "learning_rate": 0.002},
            "pruning": {
                "ratio": 0.5,
                "max_ratio": 0.7,
                "schedule": "paper",
                "floor": "absolute",
                "min_probability": 0.3,
                "stratify": "class-score",
            },
        }
        for name, section in sections.items():
            raw[name] = {**raw.get(name, {}), **section} if isinstance(section, dict) else section
        return raw

    return make


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., list[str]]:
    """What follows `python` in the command line of a run."""

    def make(raw: dict[str, Any], *options: str) -> list[str]:
        path = tmp_path / f"{raw['name']}.yaml"
        path.write_text(yaml.safe_dump(raw), encoding="utf-8")
        return ["-m", "sadp_dist", "train", str(path), *options]

    return make


@pytest.fixture
def launch(arguments: Callable[..., list[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Train to the end in processes of its own."""

    def run(raw: dict[str, Any], *options: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
        start = arguments(raw, *options)
        return run_ranks(start, processes, env=environment(), distributed=processes > 1)

    return run


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def newest_state(run_dir: Path) -> dict[str, Any]:
    """The newest checkpoint's `state.pt`."""
    path = max((run_dir / "checkpoints").glob("e*-b*"))
    state: dict[str, Any] = torch.load(path / "state.pt", weights_only=True)
    return state
