"""Processes that run one job after the other, and count what they send."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from benchmarks.job import Job, meet, tcp_bytes

SENT = 1_000_000


def add_up(rank, world_size, summand):
    total = torch.tensor([rank + summand])
    if world_size > 1:
        dist.all_reduce(total)
    meet()
    return rank, world_size, int(total)


def send(rank, world_size):
    meet()
    before = tcp_bytes()
    array = torch.zeros(SENT, dtype=torch.uint8)
    dist.send(array, dst=1) if rank == 0 else dist.recv(array, src=0)
    meet()
    return [now - then for now, then in zip(tcp_bytes(), before, strict=True)]


def fail(rank, world_size):
    raise ValueError(f"no luck on {rank}")


@pytest.mark.slow
def test_jobs_of_any_size_follow_each_other_in_the_same_processes():
    with Job(2) as job:
        assert job.run(add_up, 2, 10) == [(0, 2, 21), (1, 2, 21)]
        assert job.run(add_up, 1, 10) == [(0, 1, 10)]
        with pytest.raises(RuntimeError, match="no luck on 0"):
            job.run(fail, 2)
        (sent, _), (_, received) = job.run(send, 2)
        assert SENT <= received < 1.05 * SENT
        assert SENT <= sent < 1.05 * SENT
