"""Checks of what a run's configuration needs: processes, data, network, disk space; and of .beton files."""

from __future__ import annotations

import os
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

DATA_PATIENCE = 600.0
"""Seconds to list the files of a large dataset and read its labels."""


def _has_config(options: DoctorOptions) -> bool:
    return options.config_file is not None


@check(
    "configuration",
    "The run's YAML file is valid. If it is not, the command prints the error and exits with status 2.",
    "Fix the broken packages: reading a configuration needs numba, pydantic and PyYAML.",
    applies=_has_config,
)
def configuration(options: DoctorOptions) -> tuple[Status, str]:
    if options.config is None:
        return Status.SKIPPED, "needs numba, pydantic and PyYAML"
    return Status.OK, f"{options.config_file}: run {options.config.name!r}"


@check(
    "processes",
    "Each process on this machine has its own GPU, or all use the CPU. The batch size is a multiple of the "
    "number of processes.",
    "Change torchrun's `--nproc-per-node` or `training.batch_size`. To use the CPU, set "
    "`CUDA_VISIBLE_DEVICES=`.",
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
    return Status.OK, f"{number} on {device.type}, {batch} examples per process and batch"


@check(
    "data",
    "The training and test data exist and are complete, and have the same classes in the same order. The "
    "images have the configured size, and the labels match the number of classes.",
    "Write .beton files with `sadp-dist beton SOURCE OUT.beton`, or change `data.train`, `data.test` or "
    "`data.image_size`.",
    applies=_has_config,
    needs=("configuration", "processes"),
    patience=DATA_PATIENCE,
)
def data(options: DoctorOptions) -> tuple[Status, str]:
    try:
        opened = _data(options)
    except UsageError as error:
        return Status.BROKEN, str(error)
    found = f"{opened.size:,} training examples of {opened.classes} classes"
    if opened.class_names is None:
        found += "; class names not compared: data.train or data.test has none"
    return Status.OK, found


@check(
    "network",
    "The configured network can be built for the classes and the image size of the data.",
    "Set `network.name` to a key of `sadp_dist.snn.NETWORKS`, or increase `data.image_size`: deep networks "
    "need larger images.",
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
    "The run directory is writable, and its disk has space for the checkpoints to keep and the one that is "
    "being written.",
    "Free disk space, set another directory with `output=DIR`, or lower `training.keep_checkpoints`.",
    applies=_has_config,
    needs=("network",),
)
def checkpoints(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.training.disk_space import space_for_checkpoints

    folder, needed, free = space_for_checkpoints(_config(options), _network(options), _data(options).size)
    if not os.access(folder, os.W_OK):
        return Status.BROKEN, f"{folder} is not writable"
    found = f"{size(free)} free at {folder}, {size(needed)} needed"
    return Status.OK if free >= needed else Status.BROKEN, found


@check(
    ".beton",
    "The .beton file is complete, was written by a compatible version of FFCV, and has the fields `image` or "
    "`frames`, `label` and `index`. If you name several files, the report says whether their classes differ.",
    "Write it again with `sadp-dist beton SOURCE OUT.beton`.",
    applies=lambda options: bool(options.betons),
    needs=("ffcv",),
    patience=DATA_PATIENCE,
)
def betons(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.loading import beton_classes, beton_image_sizes, beton_labels, beton_shape

    found, names = [], dict[str, tuple[str, ...]]()
    for path in options.betons:
        try:
            labels, shape = beton_labels(path), beton_shape(path)
            sizes = beton_image_sizes(path) if shape is None else [shape]
        except UsageError as error:
            return Status.BROKEN, str(error)
        classes, kind = len(set(labels.tolist())), "images" if shape is None else "arrays"
        of = f"of {' x '.join(map(str, sizes[0]))}" if len(sizes) == 1 else "of different sizes"
        found.append(f"{path}: {len(labels):,} {kind} {of}, {classes} classes")
        known = beton_classes(path)
        if known is None:
            found[-1] += " without names"
        elif known != names.setdefault("first", known):
            found[-1] += ", not those of the files before"
    return Status.OK, "; ".join(found)


def _config(options: DoctorOptions) -> TrainConfig:
    assert options.config is not None  # the check "configuration" has passed
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
    from sadp_dist.training.architecture import network_of

    return network_of(_config(options), _data(options))


def examples_of(options: DoctorOptions) -> int | None:
    """Return N from the option or the data; None if neither gives it."""
    if options.dataset_size is None and options.config is not None:
        try:
            return _data(options).size
        except UsageError:
            return None
    return options.dataset_size
