"""What a run's configuration needs: processes, data, a network, room; and .beton files by themselves."""

from __future__ import annotations

import os
import shutil
from functools import cache
from typing import TYPE_CHECKING

from sadp_dist.doctor.check import State, check
from sadp_dist.doctor.machine import size
from sadp_dist.doctor.subject import Subject
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.snn import SpikingNetwork
    from sadp_dist.training.config import TrainConfig
    from sadp_dist.training.datasets import TrainingData

STATE_BYTES = 48
"""Of a saved store, an example: its score, the epoch of that and the score before, two plans, labels."""
DATA_PATIENCE = 600.0
"""Seconds to list a large dataset's files and read its labels."""


def _has_config(subject: Subject) -> bool:
    return subject.config_file is not None


@check(
    "configuration",
    "The run's YAML file can be read. A mistake in it is said at once, and the exit status is 2.",
    "Mend the packages that are broken; reading a configuration takes numba, pydantic and PyYAML.",
    applies=_has_config,
)
def configuration(subject: Subject) -> tuple[State, str]:
    if subject.config is None:
        return State.SKIPPED, "cannot be read until numba, pydantic and PyYAML work"
    return State.OK, f"{subject.config_file}: run {subject.config.name!r}"


@check(
    "processes",
    "Each process of this machine gets a GPU of its own, or all take the CPU, and the batch divides among "
    "them.",
    "Change torchrun's `--nproc-per-node` or `training.batch_size`; `CUDA_VISIBLE_DEVICES=` takes the CPU.",
    applies=_has_config,
    needs=("configuration", "torch", "spikingjelly"),
    patience=120,
)
def processes(subject: Subject) -> tuple[State, str]:
    from sadp_dist.training.processes import device_of
    from sadp_dist.training.trainer import batch_of_a_rank

    config, number = _config(subject), _processes(subject)
    try:
        device = device_of(0, number)
        batch = batch_of_a_rank(config.training, number)
    except UsageError as error:
        return State.BROKEN, str(error)
    return State.OK, f"{number} on {device.type}, {batch} examples each in a batch"


@check(
    "data",
    "The training and test data are there and whole, their images have the configured size, and their "
    "labels fit the number of classes.",
    "`sadp-dist beton SOURCE OUT.beton` writes .beton files; `data.train`, `data.test` and "
    "`data.image_size` say what is read.",
    applies=_has_config,
    needs=("configuration", "processes"),
    patience=DATA_PATIENCE,
)
def data(subject: Subject) -> tuple[State, str]:
    try:
        opened = _data(subject)
    except UsageError as error:
        return State.BROKEN, str(error)
    return State.OK, f"{opened.size:,} training examples of {opened.classes} classes"


@check(
    "network",
    "The configured network can be built for the data's classes and image size.",
    "`network.name` is one of those that `sadp_dist.snn.NETWORKS` holds; deeper ones need larger images "
    "(`data.image_size`).",
    applies=_has_config,
    needs=("data",),
    patience=120,
)
def network(subject: Subject) -> tuple[State, str]:
    try:
        built = _network(subject)
    except UsageError as error:
        return State.BROKEN, str(error)
    count = sum(parameter.numel() for parameter in built.parameters())
    return State.OK, f"{_config(subject).network.name}, {count:,} parameters"


@check(
    "checkpoints",
    "The run's directory can be written to, and its disk has room for the checkpoints that are kept and the "
    "one that is being written.",
    "Make room, choose another place with `output=DIR`, or keep fewer with `training.keep_checkpoints`.",
    applies=_has_config,
    needs=("network",),
)
def checkpoints(subject: Subject) -> tuple[State, str]:
    config = _config(subject)
    folder = next(
        path for path in (config.run_dir.resolve(), *config.run_dir.resolve().parents) if path.exists()
    )
    if not os.access(folder, os.W_OK):
        return State.BROKEN, f"{folder} cannot be written to"
    weights = sum(value.nbytes for value in _network(subject).state_dict().values())
    moments = 2 if config.training.optimizer == "adamw" else 1
    needed = (config.training.keep_checkpoints + 1) * (
        (1 + moments) * weights + STATE_BYTES * _data(subject).size
    )
    free = shutil.disk_usage(folder).free
    found = f"{size(free)} free for {size(needed)} at {folder}"
    return State.OK if free >= needed else State.BROKEN, found


@check(
    ".beton",
    "A .beton file is whole, of this version of FFCV, and has the fields `image` or `frames`, `label` and "
    "`index`.",
    "`sadp-dist beton SOURCE OUT.beton` writes it anew.",
    applies=lambda subject: bool(subject.betons),
    needs=("ffcv",),
    patience=DATA_PATIENCE,
)
def betons(subject: Subject) -> tuple[State, str]:
    from sadp_dist.loading import beton_image_sizes, beton_labels, beton_shape

    found = []
    for path in subject.betons:
        try:
            labels, shape = beton_labels(path), beton_shape(path)
            sizes = beton_image_sizes(path) if shape is None else [shape]
        except UsageError as error:
            return State.BROKEN, str(error)
        classes, kind = len(set(labels.tolist())), "images" if shape is None else "arrays"
        of = f"of {' x '.join(map(str, sizes[0]))}" if len(sizes) == 1 else "of many sizes"
        found.append(f"{path}: {len(labels):,} {kind} {of}, {classes} classes")
    return State.OK, "; ".join(found)


def _config(subject: Subject) -> TrainConfig:
    assert subject.config is not None  # the check "configuration" has looked
    return subject.config


def _processes(subject: Subject) -> int:
    import torch

    return subject.processes or max(torch.cuda.device_count(), 1)


@cache
def _data(subject: Subject) -> TrainingData:
    import torch

    from sadp_dist.training.datasets import open_data
    from sadp_dist.training.processes import Process
    from sadp_dist.training.trainer import batch_of_a_rank

    config = _config(subject)
    batch_size = batch_of_a_rank(config.training, _processes(subject))
    process = Process(0, 1, torch.device("cpu"))
    return open_data(config.data, batch_size, config.seed, process, config.network.time_steps)


@cache
def _network(subject: Subject) -> SpikingNetwork:
    from sadp_dist.snn import build_network

    config = _config(subject)
    return build_network(
        config.network.name,
        num_classes=_data(subject).classes,
        image_size=_data(subject).image_size,
        channels=_data(subject).channels,
        time_steps=config.network.time_steps,
        neuron=config.network.neuron,
    )


def examples_of(subject: Subject) -> int | None:
    """N, if it was said or the data are there to say it."""
    if subject.dataset_size is None and subject.config is not None:
        try:
            return _data(subject).size
        except UsageError:
            return None
    return subject.dataset_size
