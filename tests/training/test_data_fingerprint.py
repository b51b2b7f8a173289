"""A run's data keeps its fingerprint when it moves, and the run's directory has it."""

from __future__ import annotations

import shutil

from sadp_dist.data.config import DataConfig
from sadp_dist.training.config import parse_config
from sadp_dist.training.data_fingerprint import data_fingerprint, recorded_data
from sadp_dist.training.run import train


def test_data_that_moves_keeps_its_fingerprint(digits, tmp_path):
    def fingerprint(folder, role, **options):
        return data_fingerprint(DataConfig(train=f"{folder}", test=f"{folder}", **options), role)

    shutil.copytree(digits, tmp_path / "copy")
    for name, options in {
        "train.beton": {},
        "images": {"loader": "torch", "train_split": "train", "test_split": "test"},
    }.items():
        here, moved = digits / name, tmp_path / "copy" / name
        assert fingerprint(here, "train", **options) == fingerprint(moved, "train", **options)
        other = digits / name.replace("train", "test")
        assert fingerprint(here, "train", **options) != fingerprint(other, "test", **options)


def test_a_run_records_the_fingerprints_of_its_data(recipe):
    config = parse_config(recipe("ffcv", training={"epochs": 1}))
    train(config, show=False)
    recorded = recorded_data(config.run_dir)
    for role in ("train", "test"):
        kind, digits = data_fingerprint(config.data, role).split(":")
        assert recorded[role][kind] == digits
    assert recorded["train"] != recorded["test"]
