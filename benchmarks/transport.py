"""Send the same arrays from the ranks of a job with bare transports: gloo, Redis, a Ray actor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.job import meet

Batch = tuple[NDArray[np.int64], NDArray[np.float32]]


def scores_of(rank: int, world_size: int, dataset_size: int, batch_size: int) -> list[Batch]:
    """Return a rank's part of all examples in random order, with lognormal scores, in batches."""
    mine = np.random.default_rng(0).permutation(dataset_size)[rank::world_size].copy()
    scores = np.random.default_rng(rank).lognormal(size=len(mine)).astype(np.float32)
    starts = range(0, len(mine), batch_size)
    return [(mine[at : at + batch_size], scores[at : at + batch_size]) for at in starts]


def send_bare(
    rank: int, world_size: int, backend: str, url: str, dataset_size: int, batch_size: int, rounds: int
) -> list[float]:
    """Return the seconds until all ranks' batches are where a store would have them, for each round."""
    batches = scores_of(rank, world_size, dataset_size, batch_size)
    send = {"embedded": _over_gloo, "Redis": _over_redis, "Ray": _over_ray}[backend]
    with send(rank, world_size, url, dataset_size, batches) as action:
        action()
        seconds = []
        for _ in range(rounds):
            meet()
            start = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - start)
    return seconds


@contextmanager
def _over_gloo(
    rank: int, world_size: int, url: str, dataset_size: int, batches: list[Batch]
) -> Iterator[Any]:
    """Send to rank 0's memory, and assign to two NumPy tables there."""
    import torch
    import torch.distributed as dist

    tables = np.zeros(dataset_size, np.float32), np.zeros(dataset_size, np.int32)
    theirs = [scores_of(other, world_size, dataset_size, len(batches[0][0])) for other in range(world_size)]

    def store(indices: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        tables[0][indices] = scores
        tables[1][indices] = 1

    def action() -> None:
        if rank != 0:
            for batch in batches:
                for array in batch:
                    dist.send(torch.from_numpy(array), dst=0)
            return
        for batch in batches:
            store(*batch)
        for other in range(1, world_size):
            for indices, scores in theirs[other]:
                for array in (indices, scores):
                    dist.recv(torch.from_numpy(array), src=other)
                store(indices, scores)

    yield action


@contextmanager
def _over_redis(
    rank: int, world_size: int, url: str, dataset_size: int, batches: list[Batch]
) -> Iterator[Any]:
    """SET the bytes of each batch, with indices as narrow as in a frame."""
    import redis

    with redis.Redis.from_url(url) as client:

        def action() -> None:
            for indices, scores in batches:
                client.set(f"bare:{rank}", indices.astype(np.uint32).tobytes() + scores.tobytes())

        yield action
        client.delete(f"bare:{rank}")


@contextmanager
def _over_ray(rank: int, world_size: int, url: str, dataset_size: int, batches: list[Batch]) -> Iterator[Any]:
    """Call an actor with the arrays of each batch, all calls at once."""
    import ray

    from sadp_dist.store.backends.ray import cluster

    class Receiver:
        def take(self, indices: NDArray[np.int64], scores: NDArray[np.float32]) -> int:
            return len(indices)

    cluster.join(url)
    actor = (
        ray.remote(Receiver)
        .options(name="bare", namespace="benchmark", get_if_exists=True, num_cpus=0, lifetime="detached")
        .remote()
    )

    def action() -> None:
        ray.get([actor.take.remote(*batch) for batch in batches])

    yield action
    meet()
    if rank == 0:
        ray.kill(actor)


def hash_per_second(url: str, dataset_size: int, scores: int) -> float:
    """Return scores per second for one HSET per example, 4,096 per pipeline, as in hand-written code."""
    import redis

    batches = scores_of(0, 1, dataset_size, 4_096)[: max(scores // 4_096, 1)]
    lists = [(indices.tolist(), values.tolist()) for indices, values in batches]
    with redis.Redis.from_url(url) as client:
        start = time.perf_counter()
        for indices, values in lists:
            pipe = client.pipeline(transaction=False)
            for index, value in zip(indices, values, strict=True):
                pipe.hset("hash", str(index), str(value))
            pipe.execute()
        seconds = time.perf_counter() - start
        client.delete("hash")
    return sum(len(indices) for indices, _ in lists) / seconds
