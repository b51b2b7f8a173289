"""The processes of one job: who we are, where we compute, how we add up and agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sadp_dist.errors import AgreedError, UsageError

T = TypeVar("T")


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

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Put the mean over all ranks in place of each gradient, as DDP does; one that is not there is 0."""
        if self.world_size == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        # Flattened as they are read, not as they lie: torch's parameters_to_vector refuses channels_last.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        means = flat.div_(self.world_size).split([gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def agree(self, step: Callable[[], T]) -> T:
        """Run a step on every rank; what is refused on one is refused on all, so that none waits in vain.

        Args:
            step: talks to no other rank.

        Raises:
            AgreedError: a UsageError of this rank, or of the first rank that had one.
        """
        result: T
        problem: str | None = None
        try:
            result = step()
        except UsageError as error:
            problem = str(error)
        problems: list[Any] = [problem]
        if self.world_size > 1:
            problems = [None] * self.world_size
            dist.all_gather_object(problems, problem)
        for rank, said in enumerate(problems):
            if said is not None:
                raise AgreedError(said if rank == 0 else f"rank {rank}: {said}")
        return result


@contextmanager
def join_job() -> Iterator[Process]:
    """Join the job that the environment describes, by the names that torchrun and Ray Train give it.

    NCCL with a GPU a rank, else gloo on the CPU; a process group that is there already stays.

    Raises:
        AgreedError: there are GPUs on this machine, but fewer than processes.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = device_of(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    ours = world_size > 1 and not dist.is_initialized()
    if ours:
        # gloo beside nccl: what lives on the CPU (indices, weights, scores) never waits for the GPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    together = True
    try:
        yield Process(rank, world_size, device)
    except BaseException as error:
        # The other ranks may be in a collective, and taking NCCL down would wait for them.
        together = isinstance(error, AgreedError)
        raise
    finally:
        # Before the interpreter goes: gloo's threads still need it for a moment after a collective.
        if ours and together:
            dist.destroy_process_group()


def device_of(local_rank: int, local_world_size: int) -> torch.device:
    """Where a process of this machine computes, which is set for what follows.

    Raises:
        AgreedError: there are GPUs, but fewer than processes.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    if local_world_size > gpus:
        raise AgreedError(
            f"{local_world_size} processes on this machine, but {gpus} GPU(s): start at most {gpus} with "
            "--nproc-per-node, or train on the CPU with CUDA_VISIBLE_DEVICES="
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
