"""The processes of a job: rank, device, sums over ranks and agreement on errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from sadp_dist.errors import AgreedError, CannotWrite, Stopped, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """One process of a job that torchrun started, or the only process.

    Attributes:
        rank: of this process.
        world_size: number of processes.
        device: of this process.
        grouped: whether a single process has a process group, and uses it as several would.
    """

    rank: int
    world_size: int
    device: torch.device
    grouped: bool = False

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def communicates(self) -> bool:
        """Whether there is a process group to communicate in."""
        return self.world_size > 1 or self.grouped

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in place, and return it."""
        if self.communicates:
            dist.all_reduce(values)
        return values

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all ranks, as DDP does; a missing gradient counts as 0."""
        if not self.communicates:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        # Not torch's parameters_to_vector, which refuses channels_last.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        means = flat.div_(self.world_size).split([gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def agree(self, step: Callable[[], T]) -> T:
        """Run a step on every rank. If one rank cannot go on, all raise its error, so that no rank hangs.

        Args:
            step: must not communicate with other ranks.

        Raises:
            AgreedError: the UsageError of the first rank that had one.
            CannotWrite: as on the first rank that raised it.
        """
        result: T
        problem: tuple[type[RuntimeError | UsageError], str] | None = None
        try:
            result = step()
        except UsageError as error:
            problem = AgreedError, str(error)
        except CannotWrite as error:
            problem = CannotWrite, str(error)
        problems: list[Any] = [problem]
        if self.communicates:
            problems = [None] * self.world_size
            dist.all_gather_object(problems, problem)
        for rank, said in enumerate(problems):
            if said is not None:
                kind, message = said
                raise kind(message if rank == 0 else f"rank {rank}: {message}")
        return result

    def from_first(self, step: Callable[[], T]) -> T:
        """Run a step on rank 0, and return its result, which must be picklable, on every rank.

        Raises:
            AgreedError: the UsageError that rank 0 had.
        """
        results: list[Any] = [self.agree(lambda: step() if self.is_first else None)]
        if self.communicates:
            dist.broadcast_object_list(results, src=0)
        result: T = results[0]
        return result


@contextmanager
def join_job() -> Iterator[Process]:
    """Join the job that the environment variables of torchrun or Ray Train describe.

    Uses NCCL with one GPU per rank, else gloo on the CPU. An existing process group is kept.

    Raises:
        AgreedError: this machine has GPUs, but fewer than processes.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = device_of(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    ours = world_size > 1 and not dist.is_initialized()
    if ours:
        # gloo in addition to NCCL: tensors on the CPU (indices, weights, scores) never wait for the GPU.
        _init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    together = True
    try:
        yield Process(rank, world_size, device)
    except BaseException as error:
        # The other ranks may be in a collective, and shutting down NCCL would wait for them.
        together = isinstance(error, (AgreedError, CannotWrite, Stopped))
        raise
    finally:
        # Before the interpreter exits: gloo's threads need it for a moment after a collective.
        if ours and together:
            dist.destroy_process_group()


def _init_process_group(backend: str) -> None:
    """Meet the other ranks at the store of the job's environment.

    torchrun's store may live on when it starts killed ranks again, and holds the addresses of those before
    them. So each start has keys of its own.
    """
    store, rank, world_size = next(rendezvous("env://"))
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own = PrefixStore(f"restart-{start}", store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=world_size)


def device_of(local_rank: int, local_world_size: int) -> torch.device:
    """Return the device of a process, and make it the current CUDA device.

    Raises:
        AgreedError: this machine has GPUs, but fewer than processes.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    if local_world_size > gpus:
        raise AgreedError(
            f"{local_world_size} processes on this machine, but only {gpus} GPU(s); start at most {gpus} "
            "with --nproc-per-node, or train on the CPU with CUDA_VISIBLE_DEVICES="
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
