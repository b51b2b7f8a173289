"""Memory of clients, planner and Redis over many epochs with new scores for all examples.

Eight processes push scores, and `sadp-dist serve` plans. The peak within an epoch must not grow over the
epochs.
"""

from __future__ import annotations

import multiprocessing as mp
import time
from collections import defaultdict
from statistics import median
from typing import Any

import numpy as np
import psutil
import redis

from benchmarks.job import PRELOADED
from benchmarks.result import Options, Plot, Ratio, Result, Table
from benchmarks.servers import redis_server
from sadp_dist import PruningConfig, connect

N = 1_281_167
PRUNING = PruningConfig(ratio=0.35, epochs=1000, min_probability=0.25)
BATCH = 256
MB = 1e6
FIGURES = ("client, MB", "planner, MB", "Redis, MB", "log entries")
BEFORE, AFTER = -1, -2  # in the place of an epoch: processes start, and end


def measure(options: Options) -> Result:
    """Measure thirty epochs of eight ranks; a short run has six epochs of two."""
    ranks, epochs = (2, 6) if options.short else (8, 30)
    with redis_server() as server:
        largest, seconds = watch(server.url, psutil.Process(server.planner), ranks, epochs)
    shown = sorted({0, 1, *range(4, epochs, 5), epochs - 1})
    table = Table(
        f"Peak within an epoch: {ranks} ranks, {epochs} epochs of {N:,} scores, pushed by {BATCH}",
        ["epoch", *FIGURES, "time, s"],
        [[f"{e + 1}", *(largest[figure][e] for figure in FIGURES), seconds[e]] for e in shown],
        "Client: the largest of all ranks. Nearly all of its memory is torch and other imported libraries.",
    )
    ratios = [
        Ratio(
            f"{figure[:-4]}: last third of the epochs / middle third",
            growth(largest[figure]),
            "lower",
            goal,
            1.3,
        )
        for figure, goal in (("client, MB", 1.05), ("planner, MB", 1.1), ("Redis, MB", 1.3))
    ]
    lines = {figure: [(e + 1.0, value) for e, value in enumerate(largest[figure])] for figure in FIGURES[:3]}
    plots = [] if options.short else [Plot("soak", "Memory", "epoch", "MB", lines)]
    return Result([table], ratios, plots)


def growth(values: list[float]) -> float:
    """Return the median of the last third of epochs over that of the middle third; the first is settling."""
    third = len(values) // 3
    return median(values[-third:]) / median(values[third:-third])


def push_on(rank: int, ranks: int, url: str, epochs: int, epoch_now: Any) -> None:
    """Run one rank of the job: push scores of its part of the examples, then get the next epoch's shard."""
    generator = np.random.default_rng(rank)
    with connect(url, "soak", N, PRUNING) as store:
        for epoch in range(epochs):
            shard = store.plan(epoch, rank, ranks)
            assert shard.epoch == epoch and len(shard.indices)
            if rank == 0:
                epoch_now.value = epoch
            order = generator.permutation(np.arange(rank, N, ranks))
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
                store.push(batch, generator.lognormal(size=len(batch)), epoch)
        store.plan(epochs, rank, ranks)
        if rank == 0:
            epoch_now.value = AFTER


def watch(
    url: str, planner: psutil.Process, ranks: int, epochs: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Start the ranks and poll the memory of all processes until they are done.

    Returns:
        The peak of each figure in each epoch, and the seconds of each epoch.
    """
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    epoch_now = context.Value("i", BEFORE)
    processes = [
        context.Process(target=push_on, args=(rank, ranks, url, epochs, epoch_now), daemon=True)
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    clients = [psutil.Process(process.pid) for process in processes]
    largest: dict[str, list[float]] = {figure: [0.0] * epochs for figure in FIGURES}
    looks: dict[int, list[float]] = defaultdict(list)
    with redis.Redis.from_url(url) as server:
        while any(process.is_alive() for process in processes):
            epoch = epoch_now.value
            now = (
                max(map(_resident, clients)),
                _resident(planner),
                server.info("memory")["used_memory"] / MB,
                sum(server.xlen(key) for key in server.scan_iter(_type="stream")),
            )
            looks[epoch].append(time.perf_counter())
            if epoch >= 0:
                for figure, value in zip(FIGURES, now, strict=True):
                    largest[figure][epoch] = max(largest[figure][epoch], value)
            time.sleep(0.02)
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"a rank ended with status {process.exitcode}")
    return largest, [looks[epoch][-1] - looks[epoch][0] if looks[epoch] else 0.0 for epoch in range(epochs)]


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / MB
    except psutil.Error:  # it has ended
        return 0.0
