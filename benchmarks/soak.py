"""Memory of clients, planner and Redis over many epochs, in each of which all of ImageNet gets new scores.

    python -m benchmarks.soak [--short] [--json FILE]

Eight processes push, `sadp-dist serve` plans. Each row is an epoch, its figures are the largest in it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis
import torch.multiprocessing as mp
from rich.console import Console

from benchmarks.servers import redis_server
from benchmarks.store import PRUNING, N, table_of
from sadp_dist import connect

RANKS = 8
BATCH = 256
MB = 1e6
BEFORE, AFTER = -1, -2  # in the place of an epoch: processes start, and end


def push_on(rank: int, url: str, epochs: int, epoch_now: Any) -> None:
    """One rank of the job: scores of its part of the examples, then the next epoch's shard."""
    generator = np.random.default_rng(rank)
    with connect(url, "soak", N, PRUNING) as store:
        for epoch in range(epochs):
            shard = store.plan(epoch, rank, RANKS)
            assert shard.epoch == epoch and len(shard.indices)
            if rank == 0:
                epoch_now.value = epoch
            order = generator.permutation(np.arange(rank, N, RANKS))
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
                store.push(batch, generator.lognormal(size=len(batch)), epoch)
        store.plan(epochs, rank, RANKS)
        if rank == 0:
            epoch_now.value = AFTER


def watch(url: str, planner: psutil.Process, epochs: int) -> list[dict[str, float]]:
    """Start the ranks and look at everybody's memory again and again until they are done."""
    spawn = mp.get_context("spawn")
    epoch_now = spawn.Value("i", BEFORE)
    ranks = [spawn.Process(target=push_on, args=(rank, url, epochs, epoch_now)) for rank in range(RANKS)]
    for rank in ranks:
        rank.start()
    clients = [psutil.Process(rank.pid) for rank in ranks]
    largest: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    looks: dict[int, list[float]] = defaultdict(list)
    with redis.Redis.from_url(url) as server:
        while any(rank.is_alive() for rank in ranks):
            now = {
                "client_MB": max((_resident(client) for client in clients), default=0.0),
                "planner_MB": _resident(planner),
                "redis_MB": server.info("memory")["used_memory"] / MB,
                "log_entries": sum(_log_lengths(server)),
            }
            row = largest[epoch_now.value]
            looks[epoch_now.value].append(time.perf_counter())
            for name, value in now.items():
                row[name] = max(row[name], value)
            time.sleep(0.02)
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0
    return [
        {"epoch": epoch, "seconds": looks[epoch][-1] - looks[epoch][0], **row}
        for epoch, row in sorted(largest.items())
        if epoch >= 0
    ]


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / MB
    except psutil.Error:  # it has ended
        return 0.0


def _log_lengths(server: redis.Redis) -> list[int]:
    return [server.xlen(key) for key in server.scan_iter(_type="stream")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="six epochs in the place of thirty")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    epochs = 6 if options.short else 30
    with redis_server() as server:
        rows = watch(server.url, psutil.Process(server.planner), epochs)
    title = f"{RANKS} ranks, {epochs} epochs of {N:,} scores in pushes of {BATCH}"
    Console().print(table_of(title, rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
