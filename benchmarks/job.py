"""Processes that are started once and run one job after the other."""

from __future__ import annotations

import multiprocessing as mp
import os
import socket
import struct
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PRELOADED = ["torch", "sadp_dist", "sadp_dist.store.backends.embedded"]
"""What all processes need is imported once, in the server that they are forked from."""


class Job:
    """Processes that import torch once and share its memory, so that sixteen of them fit.

    Args:
        ranks: the number of processes, the largest world size of a job.
    """

    def __init__(self, ranks: int) -> None:
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._folder = tempfile.TemporaryDirectory()
        self._jobs = 0
        self._lines: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(ranks):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)

    def run(self, function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
        """Run function(rank, world_size, *arguments) on the ranks of a torch.distributed job.

        Args:
            function: a function of a module that can be imported.
            world_size: the number of processes that take part; a single process has no process group.
            arguments: picklable, like the results.

        Returns:
            The results by rank.

        Raises:
            RuntimeError: the function failed on a rank.
        """
        self._jobs += 1
        meeting = Path(self._folder.name, str(self._jobs))
        for rank, line in enumerate(self._lines[:world_size]):
            line.send((function, rank, world_size, f"file://{meeting}", arguments))
        answers = [line.recv() for line in self._lines[:world_size]]
        for _, failure in answers:
            if failure:
                raise RuntimeError(failure)
        return [answer for answer, _ in answers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(5)
            process.terminate()
        self._folder.cleanup()


def _serve(line: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    while True:
        try:
            function, rank, world_size, meeting, arguments = line.recv()
        except EOFError:
            return
        try:
            if world_size > 1:
                dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
                meet()  # a rank that fails at once would break what the others still connect
            answer = function(rank, world_size, *arguments), ""
        except Exception:
            answer = None, f"rank {rank} of {world_size}: {traceback.format_exc()}"
        line.send(answer)
        if world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def meet() -> None:
    """Wait for the other ranks, if there are any."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()


def tcp_bytes() -> tuple[int, int]:
    """Return what this process sent and received over its open TCP connections, as counted by Linux.

    Returns:
        Bytes acknowledged by the other sides, and bytes received, without headers.
    """
    sent = received = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(entry).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as peer:
                if peer.family in (socket.AF_INET, socket.AF_INET6) and peer.type == socket.SOCK_STREAM:
                    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                    out, into = struct.unpack_from("QQ", info, 120)  # tcpi_bytes_acked, tcpi_bytes_received
                    sent, received = sent + out, received + into
        except OSError:  # closed since
            continue
    return sent, received
