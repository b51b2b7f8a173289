"""A small scale that is smaller yet: digits in place of CIFAR-10, three epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sadp_dist.loading import write_beton
from sadp_dist.reproduce.setting import Setting


@pytest.fixture(scope="session")
def setting(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """Two seeds, with the data in place; runs that one test has trained the others find done."""
    folder = tmp_path_factory.mktemp("reproduce")
    for data in ("cifar10-part", "tiny-imagenet-10"):
        for split in ("train", "test"):
            path = folder / "runs" / "data" / f"{data}-{split}.beton"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_beton(digits, path, split=split)
    recipe = {
        "name": "small",
        "data": {"train": "-", "test": "-", "image_size": 8, "classes": 10},
        "network": {"name": "small_cnn", "time_steps": 1},
        "training": {"epochs": 3, "batch_size": 128, "optimizer": "adamw", "learning_rate": 0.01},
        "pruning": {"scheme": "bernoulli", "tracking_epochs": 1},
        "tracking": {"trackers": []},
    }
    recipe["training"]["evaluate_every"] = 3
    configs = folder / "configs"
    configs.mkdir()
    for name in ("reproduce-small", "tiny-imagenet-10-pretrain", "tiny-imagenet-10-finetune"):
        (configs / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    stages = {"pretrain": "tiny-imagenet-10-pretrain.yaml", "finetune": "tiny-imagenet-10-finetune.yaml"}
    (configs / "tiny-imagenet-10-chain.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return Setting("small", (0, 1), folder / "runs", folder, configs)
