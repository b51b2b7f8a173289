"""Whether the disk of a run directory has space for the checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from sadp_dist.snn import SpikingNetwork
from sadp_dist.training.config import TrainConfig

STATE_BYTES = 48
"""Bytes per example of a saved store: two scores, an epoch, two plans and a label."""


class DiskSpace(NamedTuple):
    """Space for a run's checkpoints.

    Attributes:
        folder: the run directory, or the folder above it that exists.
        needed: bytes of the checkpoints to keep and of the one that is being written.
        free: bytes that are free.
    """

    folder: Path
    needed: int
    free: int


def space_for_checkpoints(config: TrainConfig, network: SpikingNetwork, dataset_size: int) -> DiskSpace:
    """Return what the checkpoints of a run need, and what is free.

    Args:
        config: of the run.
        network: of the run, with any weights.
        dataset_size: N.
    """
    run_dir = config.run_dir.resolve()
    folder = next(path for path in (run_dir, *run_dir.parents) if path.exists())
    weights = sum(value.nbytes for value in network.state_dict().values())
    moments = 2 if config.training.optimizer == "adamw" else 1
    checkpoint = (1 + moments) * weights + STATE_BYTES * dataset_size
    needed = (config.training.keep_checkpoints + 1) * checkpoint
    return DiskSpace(folder, needed, shutil.disk_usage(folder).free)
