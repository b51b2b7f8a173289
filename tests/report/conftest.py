"""Real runs on the digits for the report to compare."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sadp_dist.training import parse_config, train

EPOCHS = 3
NASTY = '<script>alert(1)</script> $a & "b"'
"""What a run may be called."""
NASTY_CLASS = "<b>nine</b> $x^"


@pytest.fixture(scope="session")
def digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as images, the class of the nines with a name that is HTML."""
    folder = tmp_path_factory.mktemp("report") / "images"
    shutil.copytree(digits, folder)
    for split in folder.iterdir():
        (split / "9").rename(split / NASTY_CLASS.replace("/", "\N{DIVISION SLASH}"))
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> dict[str, Path]:
    """Directories of finished runs: the full data, SADP twice with different seeds, random pruning."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = {
        "full": ("full", "full", 0),
        "sadp": (NASTY, "sadp", 0),
        "sadp-1": ("other seed", "sadp", 1),
        "random": ("random", "random", 0),
    }
    for place, (name, method, seed) in recipes.items():
        data = {"train": str(digits), "test": str(digits), "train_split": "test", "test_split": "test"}
        raw = {
            "name": name,
            "output": str(folder / place),
            "seed": seed,
            "data": {**data, "loader": "torch", "image_size": 8, "workers": 0},
            "network": {"time_steps": 1},
            "training": {"epochs": EPOCHS, "optimizer": "adamw", "learning_rate": 0.002},
            "pruning": {"method": method, "ratio": 0.5, "max_ratio": 0.7, "min_probability": 0.1},
        }
        train(parse_config(raw))
    return {place: folder / place for place in recipes}


@pytest.fixture(scope="session")
def lacking(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of a SADP run of which something is missing."""
    folder = tmp_path_factory.mktemp("lacking")
    kinds = ("unfinished", "no checkpoint", "damaged", "just begun", "no images")
    copies = {kind: Path(shutil.copytree(runs["sadp"], folder / kind)) for kind in kinds}
    metrics = copies["unfinished"] / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:2]) + lines[2][:40])  # as a kill leaves it
    shutil.rmtree(copies["no checkpoint"] / "checkpoints")
    for store in copies["damaged"].glob("checkpoints/*/store.npz"):
        store.write_bytes(store.read_bytes()[:100])
    shutil.rmtree(copies["just begun"] / "checkpoints")
    (copies["just begun"] / "metrics.jsonl").write_text("")
    change_config(copies["no images"], train="/nowhere")
    return copies


def change_config(run_dir: Path, **data: str) -> None:
    """Let a run's configuration say other things of its data."""
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    config["data"] |= data
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
