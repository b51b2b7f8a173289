"""Training and test data whose classes differ are refused by every loader, with the classes by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sadp_dist.data import DataConfig, open_images
from sadp_dist.doctor.configuration import data as doctors_check
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.errors import UsageError
from sadp_dist.loading import beton_labels, write_arrays, write_beton
from sadp_dist.training.check import check
from sadp_dist.training.config_file import load_config
from sadp_dist.training.datasets import open_data
from sadp_dist.training.processes import Process


def folder(root: Path, classes: str) -> Path:
    """Two images of noise of each class, which is a letter."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for k in range(2):
            noise = np.random.default_rng([ord(name), k]).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(noise).save(root / name / f"{k}.png")
    return root


class Frames:
    def __init__(self, classes):
        self.classes = classes

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.full((2, 3), index, np.float32), index % len(self.classes)


def opened(**data):
    config = DataConfig(**{"image_size": 8, "workers": 0, **data})
    return open_data(config, 2, 0, Process(0, 1, torch.device("cpu")), time_steps=2)


@pytest.mark.parametrize("loader", ["ffcv", "torch"])
@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("bc", r"only in data.train: a\), so a label does not mean the same in both; (write|use)"),
        ("abd", r"only in data.train: c; only in data.test: d\).*remove the images of d from the test set"),
        ("abcd", r"only in data.test: d\), so"),
    ],
)
def test_classes_that_differ_are_refused_by_name(tmp_path, loader, test, expected):
    paths = {"train": folder(tmp_path / "one", "abc"), "test": folder(tmp_path / "other", test)}
    if loader == "ffcv":
        for name, source in paths.items():
            paths[name] = tmp_path / f"{name}.beton"
            write_beton(source, paths[name], workers=1)
    with pytest.raises(UsageError, match=f"^data.train and data.test have different classes .{expected}"):
        opened(**{name: str(path) for name, path in paths.items()}, loader=loader)


def test_another_order_is_refused_and_so_it_is_for_arrays(tmp_path):
    paths = {"train": str(tmp_path / "train.beton"), "test": str(tmp_path / "test.beton")}
    write_arrays(Frames(["yes", "no"]), paths["train"], workers=1)
    write_arrays(Frames(["no", "yes"]), paths["test"], workers=1)
    with pytest.raises(
        UsageError, match=r"in another order: label 0 is yes in data.train, no in data.test\)"
    ):
        opened(**paths)
    write_arrays(Frames(["yes", "no"]), paths["test"], workers=1)
    assert opened(**paths, image_size=32).class_names == ("yes", "no")


def test_a_test_set_numbered_like_the_training_set_is_accepted(tmp_path):
    write_beton(folder(tmp_path / "train", "abc"), tmp_path / "train.beton", workers=1)
    test = open_images(folder(tmp_path / "test", "bc"), classes="abc")
    write_beton(test, tmp_path / "test.beton", workers=1)
    assert beton_labels(tmp_path / "test.beton").tolist() == [1, 1, 2, 2]
    data = opened(train=str(tmp_path / "train.beton"), test=str(tmp_path / "test.beton"))
    assert (data.classes, data.class_names) == (3, ("a", "b", "c"))


def test_check_and_doctor_refuse_them_and_say_when_names_are_not_known(tmp_path):
    for name, classes in (("train", "abc"), ("test", "bc")):
        write_beton(folder(tmp_path / name, classes), tmp_path / f"{name}.beton", workers=1)
    images = open_images(tmp_path / "test")
    plain = [images[k] for k in range(len(images))]
    write_beton(plain, tmp_path / "plain.beton", workers=1)

    def run(test):
        (tmp_path / "run.yaml").write_text(
            f"name: run\noutput: {tmp_path}/run\n"
            f"data: {{train: {tmp_path}/train.beton, test: {tmp_path}/{test}, image_size: 8}}\n"
            "training: {epochs: 1, batch_size: 2}\nnetwork: {time_steps: 1}\n"
        )
        return tmp_path / "run.yaml"

    with pytest.raises(UsageError, match="have different classes"):
        check(load_config(run("test.beton")))
    for test, expected in (
        ("test.beton", ("broken", "only in data.train: a")),
        ("plain.beton", ("ok", "class names not compared: data.train or data.test has none")),
    ):
        status, found = doctors_check(DoctorOptions(config_file=run(test), processes=1))
        assert (status.value, expected[1] in found) == (expected[0], True), found
