"""The processes of one job: who we are, where we compute, how we add up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Process:
    """One process of a job, as torchrun starts it; outside torchrun the only one."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Add a tensor up over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values


@contextmanager
def join_job() -> Iterator[Process]:
    """Join the job that torchrun's environment describes: NCCL with a GPU a rank, else gloo on the CPU."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    ours = world_size > 1 and not dist.is_initialized()
    if ours:
        # gloo beside nccl: what lives on the CPU (indices, weights, scores) never waits for the GPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(rank, world_size, device)
    finally:
        if ours:
            dist.destroy_process_group()
