"""What a run's configuration needs: processes, data, a network, room; and .beton files by themselves."""

from __future__ import annotations

import os
import shutil
from functools import cache
from typing import TYPE_CHECKING

from sadp_dist.doctor.check import Status, check
from sadp_dist.doctor.machine import size
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.snn import SpikingNetwork
    from sadp_dist.training.config import TrainConfig
    from sadp_dist.training.datasets import TrainingData

STATE_BYTES = 48
"""Of a saved store, an example: its score, the epoch of that and the score before, two plans, labels."""
DATA_PATIENCE = 600.0
"""Seconds to list a large dataset's files and read its labels."""


def _has_config(options: DoctorOptions) -> bool:
    return options.config_file is not None


@check(
    "configuration",
    "The run's YAML file can be read. A mistake in it is said at once, and the exit status is 2.",
    "Mend the packages that are broken; reading a configuration takes numba, pydantic and PyYAML.",
    applies=_has_config,
)
def configuration(options: DoctorOptions) -> tuple[Status, str]:
    if options.config is None:
        return Status.SKIPPED, "cannot be read until numba, pydantic and PyYAML work"
    return Status.OK, f"{options.config_file}: run {options.config.name!r}"


@check(
    "processes",
    "Each process of this machine gets a GPU of its own, or all take the CPU, and the batch divides among "
    "them.",
    "Change torchrun's `--nproc-per-node` or `training.batch_size`; `CUDA_VISIBLE_DEVICES=` takes the CPU.",
    applies=_has_config,
    needs=("configuration", "torch", "spikingjelly"),
    patience=120,
)
def processes(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.training.processes import device_of
    from sadp_dist.training.trainer import batch_of_a_rank

    config, number = _config(options), _processes(options)
    try:
        device = device_of(0, number)
        batch = batch_of_a_rank(config.training, number)
    except UsageError as error:
        return Status.BROKEN, str(error)
    return Status.OK, f"{number} on {device.type}, {batch} examples each in a batch"


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
def data(options: DoctorOptions) -> tuple[Status, str]:
    try:
        opened = _data(options)
    except UsageError as error:
        return Status.BROKEN, str(error)
    return Status.OK, f"{opened.size:,} training examples of {opened.classes} classes"


@check(
    "network",
    "The configured network can be built for the data's classes and image size.",
    "`network.name` is one of those that `sadp_dist.snn.NETWORKS` holds; deeper ones need larger images "
    "(`data.image_size`).",
    applies=_has_config,
    needs=("data",),
    patience=120,
)
def network(options: DoctorOptions) -> tuple[Status, str]:
    try:
        built = _network(options)
    except UsageError as error:
        return Status.BROKEN, str(error)
    count = sum(parameter.numel() for parameter in built.parameters())
    return Status.OK, f"{_config(options).network.name}, {count:,} parameters"


@check(
    "checkpoints",
    "The run's directory can be written to, and its disk has room for the checkpoints that are kept and the "
    "one that is being written.",
    "Make room, choose another place with `output=DIR`, or keep fewer with `training.keep_checkpoints`.",
    applies=_has_config,
    needs=("network",),
)
def checkpoints(options: DoctorOptions) -> tuple[Status, str]:
    config = _config(options)
    folder = next(
        path for path in (config.run_dir.resolve(), *config.run_dir.resolve().parents) if path.exists()
    )
    if not os.access(folder, os.W_OK):
        return Status.BROKEN, f"{folder} cannot be written to"
    weights = sum(value.nbytes for value in _network(options).state_dict().values())
    moments = 2 if config.training.optimizer == "adamw" else 1
    needed = (config.training.keep_checkpoints + 1) * (
        (1 + moments) * weights + STATE_BYTES * _data(options).size
    )
    free = shutil.disk_usage(folder).free
    found = f"{size(free)} free for {size(needed)} at {folder}"
    return Status.OK if free >= needed else Status.BROKEN, found


@check(
    ".beton",
    "A .beton file is whole, of this version of FFCV, and has the fields `image` or `frames`, `label` and "
    "`index`.",
    "`sadp-dist beton SOURCE OUT.beton` writes it anew.",
    applies=lambda options: bool(options.betons),
    needs=("ffcv",),
    patience=DATA_PATIENCE,
)
def betons(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.loading import beton_image_sizes, beton_labels, beton_shape

    found = []
    for path in options.betons:
        try:
            labels, shape = beton_labels(path), beton_shape(path)
            sizes = beton_image_sizes(path) if shape is None else [shape]
        except UsageError as error:
            return Status.BROKEN, str(error)
        classes, kind = len(set(labels.tolist())), "images" if shape is None else "arrays"
        of = f"of {' x '.join(map(str, sizes[0]))}" if len(sizes) == 1 else "of many sizes"
        found.append(f"{path}: {len(labels):,} {kind} {of}, {classes} classes")
    return Status.OK, "; ".join(found)


def _config(options: DoctorOptions) -> TrainConfig:
    assert options.config is not None  # the check "configuration" has looked
    return options.config


def _processes(options: DoctorOptions) -> int:
    import torch

    return options.processes or max(torch.cuda.device_count(), 1)


@cache
def _data(options: DoctorOptions) -> TrainingData:
    import torch

    from sadp_dist.training.datasets import open_data
    from sadp_dist.training.processes import Process
    from sadp_dist.training.trainer import batch_of_a_rank

    config = _config(options)
    batch_size = batch_of_a_rank(config.training, _processes(options))
    process = Process(0, 1, torch.device("cpu"))
    return open_data(config.data, batch_size, config.seed, process, config.network.time_steps)


@cache
def _network(options: DoctorOptions) -> SpikingNetwork:
    from sadp_dist.snn import build_network

    config = _config(options)
    return build_network(
        config.network.name,
        num_classes=_data(options).classes,
        image_size=_data(options).image_size,
        channels=_data(options).channels,
        time_steps=config.network.time_steps,
        neuron=config.network.neuron,
        **config.network.own_options(),
    )


def examples_of(options: DoctorOptions) -> int | None:
    """N, if it was said or the data are there to say it."""
    if options.dataset_size is None and options.config is not None:
        try:
            return _data(options).size
        except UsageError:
            return None
    return options.dataset_size
