"""Mistakes when a run is continued, and when a run is looked at with other data."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from typer.testing import CliRunner

import sadp_dist
from sadp_dist import PruningConfig
from sadp_dist.cli.main import app
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.training import parse_config, train
from tests.mistakes.case import Table

RESUME = Table()


def write_noise(folder: Path, seed: int) -> None:
    """Write four images of each of two classes for both splits."""
    draw = np.random.default_rng(seed)
    for split in ("train", "test"):
        for word in ("cat", "dog"):
            (folder / split / word).mkdir(parents=True)
            for number in range(4):
                pixels = draw.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / word / f"{number}.png")


def config_of(epochs: int = 2, images: str = "images", seed: int = 0) -> Any:
    splits = {f"{split}_split": split for split in ("train", "test")}
    data = {"train": images, "test": images, **splits, "loader": "torch", "workers": 0, "image_size": 8}
    return parse_config(
        {
            "name": "mine",
            "seed": seed,
            "data": data,
            "network": {"name": "small_cnn", "time_steps": 1},
            "training": {"epochs": epochs, "batch_size": 4},
            "pruning": {"ratio": 0.5},
            "tracking": {"trackers": []},
        }
    )


@cache
def trained() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with images and a run of two epochs, which is trained once."""
    folder = tempfile.TemporaryDirectory()
    write_noise(Path(folder.name, "images"), seed=0)
    with chdir(folder.name):
        train(config_of())
    return folder


def resume(folder: Path, how: Any = "resume", **changes: Any) -> None:
    shutil.copytree(trained().name, folder, dirs_exist_ok=True)
    if "images" in changes:
        write_noise(folder / changes["images"], seed=1)
    with chdir(folder):
        train(config_of(**changes), how)


@RESUME.row("a run is started where one is", "its results would be lost")
def _(folder: Path) -> None:
    resume(folder, "refuse")


@RESUME.row("`--resume` with other examples", "scores would belong to other examples")
def _(folder: Path) -> None:
    resume(folder, images="others")


@RESUME.row("`--resume` with another setting", "its results would be those of neither")
def _(folder: Path) -> None:
    resume(folder, seed=1)


@RESUME.row("`--resume` with more epochs", "the schedules of the learning rate and the ratio change")
def _(folder: Path) -> None:
    resume(folder, epochs=4)


@RESUME.row("`--resume` with fewer epochs", "the schedules have gone on already")
def _(folder: Path) -> None:
    resume(folder, epochs=1)


def loop_of(first: float = 1.0) -> tuple[PruningSampler, DataLoader[Any]]:
    """Return a sampler in the second epoch of a run, and its loader; scores rise or fall from `first` on."""
    pruning = PruningConfig(ratio=0.5, epochs=4, min_probability=0.1)
    store = sadp_dist.connect("memory:", run="x", dataset_size=40, pruning=pruning)
    store.push(np.arange(40), np.linspace(first, 2, 40), epoch=0)
    sampler = PruningSampler(store, 5, rank=0, world_size=1)
    sampler.set_epoch(1)
    return sampler, DataLoader(TensorDataset(torch.arange(40)), 5, sampler=sampler)


def saved_after_a_batch(weights: bool = True) -> dict[str, Any]:
    sampler, loader = loop_of()
    (index,) = next(iter(loader))
    if weights:
        sampler.weights(index)
    return sampler.state_dict()


@RESUME.row(
    "a state is loaded, and the store has another plan", "examples would be trained on twice or never"
)
def _(folder: Path) -> None:
    sampler, _ = loop_of(first=3.0)
    sampler.load_state_dict(saved_after_a_batch())
    sampler.set_epoch(1)


@RESUME.row("a state is loaded, and `set_epoch` leaves its epoch", "the rest of it would never be trained on")
def _(folder: Path) -> None:
    sampler, _ = loop_of()
    sampler.load_state_dict(saved_after_a_batch())
    sampler.set_epoch(2)


@RESUME.row(
    "a state is saved within an epoch, and `sampler.weights` was not called in it",
    "nobody knows which examples were trained on",
)
def _(folder: Path) -> None:
    saved_after_a_batch(weights=False)


@RESUME.row("`skip_first_batches` after a state was loaded", "batches would be left out twice")
def _(folder: Path) -> None:
    from accelerate import skip_first_batches

    sampler, loader = loop_of()
    sampler.load_state_dict(saved_after_a_batch())
    sampler.set_epoch(1)
    list(skip_first_batches(loader, 1))


@RESUME.row("`top --images` with other data than the run's", "the images would belong to other examples")
def _(folder: Path) -> None:
    shutil.copytree(trained().name, folder, dirs_exist_ok=True)
    write_noise(folder / "others", seed=1)
    with chdir(folder):
        options = ["--images", "others", "--split", "train", "--out", "sheet.png"]
        done = CliRunner().invoke(app, ["top", "--store", "runs/mine", "-k", "2", *options])
    assert isinstance(done.exception, UsageError), done.output
    raise done.exception
