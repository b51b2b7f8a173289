"""Checks that a training run can start, before its ranks start: ``sadp-dist check``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from sadp_dist.store import list_runs
from sadp_dist.training.architecture import network_of
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.datasets import open_data
from sadp_dist.training.disk_space import DiskSpace, space_for_checkpoints
from sadp_dist.training.processes import Process, device_of
from sadp_dist.training.resume import Existing, check_run_dir
from sadp_dist.training.trackers import find_trackers
from sadp_dist.training.trainer import batch_of_a_rank


def check(
    config: TrainConfig,
    existing: Existing = "refuse",
    nodes: Iterable[int] = (1,),
    ranks_a_node: int = 1,
) -> None:
    """Check the run directory, the GPUs, the trackers, the batch size, the data, the network and the store.

    It warns if the disk has too little space for the checkpoints.

    Args:
        config: of the run.
        existing: as in ``train``.
        nodes: possible numbers of nodes.
        ranks_a_node: processes per node.

    Raises:
        UsageError: ``train`` would refuse the run.
        StoreUnavailable: the store does not answer.
    """
    process = Process(0, 1, device_of(0, ranks_a_node))
    check_run_dir(config, existing, process)
    find_trackers(config.tracking.trackers)
    sizes = [batch_of_a_rank(config.training, number * ranks_a_node) for number in nodes]
    data = open_data(config.data, min(sizes), config.seed, process, config.network.time_steps)
    _warn_of_a_small_disk(config, space_for_checkpoints(config, network_of(config, data), data.size))
    if not config.store.url.startswith("memory:"):
        list_runs(config.store.url)


def _warn_of_a_small_disk(config: TrainConfig, space: DiskSpace) -> None:
    if space.free >= space.needed:
        return
    needed, free = (f"{count / 2**20:,.0f} MiB" for count in (space.needed, space.free))
    warnings.warn(
        f"output={config.run_dir}: {free} are free at {space.folder}, and "
        f"training.keep_checkpoints={config.training.keep_checkpoints} needs about {needed}; free space, set "
        "output=DIR, or lower training.keep_checkpoints",
        stacklevel=2,
    )
