"""The promise: CIFAR-10 with Table I's values, SADP and fewer epochs at equal seconds, beside full data."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sadp_dist.data import open_images
from sadp_dist.selftest.images import Labelled, in_memory, run_config
from sadp_dist.selftest.part import PROMISE, Figures, Skipped
from sadp_dist.selftest.setting import Setting
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer

RATIO = 0.5
TABLE_I: dict[str, dict[str, Any]] = {
    "data": {
        "mean": [125.3, 123.0, 113.9],
        "std": [63.0, 62.1, 66.7],
        "augment": "crop",
        "autoaugment": "cifar10",
        "padding": 4,
        "flip": True,
        "cutout": 16,
    },
    "network": {"name": "spiking_resnet18", "time_steps": 4, "neuron": {"decay": 0.1, "threshold": 1.0}},
    "training": {
        "batch_size": 128,
        "optimizer": "sgd",
        "learning_rate": 0.2,
        "momentum": 0.9,
        "weight_decay": 0.00005,
    },
    "scoring": {"bias": False},
}
"""The values of configs/cifar10-resnet18.yaml, which a test compares."""
METHODS: dict[str, dict[str, Any]] = {
    "SADP": {
        "method": "sadp",
        "ratio": RATIO,
        "max_ratio": 0.7,
        "schedule": "paper",
        "floor": "absolute",
        "min_probability": 0.3,
        "scheme": "bernoulli",
    },
    "fewer epochs": {"method": "reduced-epoch", "ratio": RATIO},
    "full data": {"method": "full"},
}
"""SADP and fewer epochs train on as many examples, half of those of full data, so in about equal seconds."""
IN_EPOCHS = 2.2
"""Time of all runs, in epochs of full data for each of their K epochs: 1/2 + 1/2 + 1, and evaluation."""
FEWEST = 2
TRIAL = 20
"""Batches from which the time of an epoch is estimated, after as many that warm up."""


@PROMISE.check("CIFAR-10 at equal seconds", seconds=600)
def promise(setting: Setting) -> Figures:
    """Train as many epochs as the time allows, and report each epoch's test accuracy and seconds."""
    if setting.data is None:
        raise Skipped("--data names no folder with cifar10.zip")
    network, train_size, test_size = setting.sizes.promise
    started = time.monotonic()
    archive = setting.data / "cifar10.zip"
    train, test = read_images(archive, "train", train_size), read_images(archive, "test", test_size)
    figures: Figures = {"reading the images, s": time.monotonic() - started}
    setting.report(figures)
    seconds = _epoch_seconds(setting, network, train, test)
    epochs = int(max(setting.seconds_left - 5, 0) / (IN_EPOCHS * seconds))
    epochs = min(max(epochs, FEWEST), setting.sizes.epochs)
    figures |= {"full epoch, estimated, s": seconds, "epochs of full data": epochs}
    for name in METHODS:
        curve: list[list[float]] = []
        figures[f"{name}: [s, test accuracy]"] = curve
        trainer = _trainer(setting, network, train, test, name, epochs)
        _train(setting, trainer, curve, figures)
        if len(curve) == trainer.phases.epochs:
            figures[f"{name}: test accuracy"] = curve[-1][1]
            figures[f"{name}: training, s"] = curve[-1][0]
    return figures


def read_images(archive: Path, split: str, size: int | None) -> Labelled:
    """Return a split of an archive of images of one size, or that many of its images, evenly spaced."""
    source = open_images(archive, split)
    count = len(source) if size is None else size
    chosen = np.arange(count) * len(source) // count
    with ThreadPoolExecutor() as threads:  # decoding releases the interpreter's lock
        images = list(threads.map(lambda index: np.asarray(source[index][0]), chosen.tolist()))
    return np.stack(images).transpose(0, 3, 1, 2).copy(), np.asarray(source.labels)[chosen]


def promise_config(folder: Path, network: str, method: str, epochs: int) -> TrainConfig:
    """Return the configuration of a method's run."""
    sections = {
        **TABLE_I,
        "network": {**TABLE_I["network"], "name": network},
        "training": {**TABLE_I["training"], "epochs": epochs},
        "pruning": METHODS[method],
    }
    return run_config(method, folder, 32, **sections)


def _trainer(
    setting: Setting, network: str, train: Labelled, test: Labelled, method: str, epochs: int
) -> Trainer:
    config = promise_config(setting.folder, network, method, epochs)
    process = Process(0, 1, setting.device)
    return Trainer(config, process, in_memory(config, setting.device, train, test))


def _epoch_seconds(setting: Setting, network: str, train: Labelled, test: Labelled) -> float:
    """Estimate the seconds of an epoch on all data from some batches."""
    trainer = _trainer(setting, network, train, test, "full data", FEWEST)
    trainer.begin_epoch()
    trainer.learner.trained.train()
    size, started, batches = trainer.config.training.batch_size, 0.0, 0
    for number, batch in enumerate(trainer.loader):
        if number == min(TRIAL, trainer.sampler.batches - 1):
            trainer.sums.total.tolist()  # waits for the device
            started = time.perf_counter()
        elif number == 2 * TRIAL:
            break
        trainer.train_batch(*batch, examples=size, last=True)
        batches += started > 0
    trainer.sums.total.tolist()
    per_batch = (time.perf_counter() - started) / batches
    trainer.store.close()
    return per_batch * trainer.sampler.batches


def _train(setting: Setting, trainer: Trainer, curve: list[list[float]], figures: Figures) -> None:
    """Train a run while there is time, and add the seconds and accuracy after each epoch to a curve."""
    unused, silent = Checkpoints(setting.folder), Progress("", 0, enabled=False)
    slowest, epochs = 0.0, trainer.phases.epochs
    try:
        for epoch in range(epochs):
            if epoch > 0 and setting.seconds_left < slowest:
                break
            started = time.monotonic()
            record = trainer.train_epoch(unused, silent)
            curve.append([record["total_seconds"], trainer.evaluate()["test_accuracy"]])
            slowest = max(slowest, time.monotonic() - started)
            setting.report(figures)
    finally:
        trainer.store.close()
