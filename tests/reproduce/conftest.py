"""The small scale, smaller yet: digits in place of CIFAR-10, three epochs; and runs that never were."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sadp_dist.loading import write_beton
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipes of the small scale, for digits."""
    folder = tmp_path_factory.mktemp("configs")
    recipe = {
        "name": "small",
        "data": {"train": "-", "test": "-", "image_size": 8, "classes": 10},
        "network": {"name": "small_cnn", "time_steps": 1},
        "training": {"epochs": 3, "batch_size": 128, "optimizer": "adamw", "learning_rate": 0.01},
        "pruning": {"scheme": "bernoulli"},
        "tracking": {"trackers": []},
    }
    curriculum = ("curriculum-mnist", "curriculum-cifar10")
    # The methods choose how they draw.
    for name in ("pays-mnist", "pays-cifar10", "pays-spoken-digits", *curriculum):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**recipe, "pruning": {}}))
    field = ("field-small", "field-small-digits", "field-small-events", "field-small-sounds")
    for name in ("reproduce-small", "tiny-imagenet-10-pretrain", "tiny-imagenet-10-finetune", *field):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    stages = {"pretrain": "tiny-imagenet-10-pretrain.yaml", "finetune": "tiny-imagenet-10-finetune.yaml"}
    (folder / "tiny-imagenet-10-chain.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def trained(recipes: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentSetting:
    """A setting with one seed, whose data are in place: runs that one test trains the others find done."""
    folder = tmp_path_factory.mktemp("reproduce")
    for split in ("train", "test"):
        path = folder / "data" / f"cifar10-part-{split}.beton"
        path.parent.mkdir(exist_ok=True)
        write_beton(digits, path, split=split)
    return ExperimentSetting("small", (0,), folder, folder, recipes)


@pytest.fixture
def imagined(recipes: Path, tmp_path: Path) -> ExperimentSetting:
    """A setting with three seeds, nothing of which is trained."""
    return ExperimentSetting("small", (0, 1, 2), tmp_path / "runs", tmp_path, recipes)


Figures = Callable[[Job], dict[str, Any]]


@pytest.fixture
def write_runs() -> Callable[[Iterable[Job], Figures], None]:
    """Directories of finished runs, as training would have left them: the given figures in every epoch."""

    def write(jobs: Iterable[Job], figures: Figures) -> None:
        for job in jobs:
            job.run_dir.mkdir(parents=True, exist_ok=True)
            (job.run_dir / "config.yaml").write_text(yaml.safe_dump(job.config.to_dict()))
            epochs = [{"event": "epoch", "epoch": epoch, **figures(job)} for epoch in range(3)]
            records = [*epochs, {**epochs[-1], "event": "end"}]
            (job.run_dir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))

    return write
