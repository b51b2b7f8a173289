"""The embedded store at ImageNet's size, each figure beside a plain one of the same run.

    python -m benchmarks.store [--short] [--json FILE]

- push: scores stored a second by batch size, against NumPy assignments of the same arrays to two tables.
- turnover: from an epoch's last push to the next epoch's first index, alone and between two ranks, against
  what an epoch costs without pruning: torch's DistributedSampler making its list.
- queries: `stats`, `top`, `save` and `load`, and the memory an example takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console
from rich.table import Table
from torch.utils.data import DistributedSampler

from sadp_dist import PruningConfig, connect
from sadp_dist.store import Store

N = 1_281_167
PRUNING = PruningConfig(ratio=0.35, epochs=1000, min_probability=0.25)
BATCH_SIZES = (256, 4_096, 65_536, N)


def new_store() -> Store:
    return connect("memory:", "benchmark", N, PRUNING)


def lognormal_scores(epoch: int) -> np.ndarray:
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


def median_seconds(action: Callable[[], Any], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_push(repeats: int) -> list[dict[str, float]]:
    """All scores of an epoch in batches of one size, in random order."""
    store, rows = new_store(), []
    scores, epochs = np.zeros(N, np.float32), np.zeros(N, np.int32)
    new = lognormal_scores(0)
    order = np.random.default_rng(0).permutation(N)
    epoch = 0
    for batch_size in BATCH_SIZES:
        batches = [order[start : start + batch_size] for start in range(0, N, batch_size)]
        values = [new[batch] for batch in batches]

        def push(batches=batches, values=values) -> None:
            nonlocal epoch
            epoch += 1
            for batch, value in zip(batches, values, strict=True):
                store.push(batch, value, epoch)

        def assign(batches=batches, values=values) -> None:
            for batch, value in zip(batches, values, strict=True):
                scores[batch] = value
                epochs[batch] = epoch

        push()
        ours, plain = median_seconds(push, repeats), median_seconds(assign, repeats)
        rows.append(
            {
                "batch_size": batch_size,
                "scores_per_second": N / ours,
                "microseconds_per_push": 1e6 * ours / len(batches),
                "numpy_scores_per_second": N / plain,
                "ratio": ours / plain,
            }
        )
    return rows


def turnovers(store: Store, rank: int, world_size: int, repeats: int) -> list[float]:
    """Seconds from the last push to the first index, for some epochs."""
    mine = np.arange(rank, N, world_size)
    seconds = []
    for epoch in range(repeats + 1):
        scores = lognormal_scores(epoch)[mine]
        for start in range(0, len(mine), 4_096):
            store.push(mine[start : start + 4_096], scores[start : start + 4_096], epoch)
        if world_size > 1:
            dist.barrier()
        begin = time.perf_counter()
        store.push(mine[:256], scores[:256], epoch)
        int(store.plan(epoch + 1, rank, world_size).indices[0])
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]  # the first compiles


def turnover_rank(rank: int, world_size: int, repeats: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size)
    seconds = turnovers(new_store(), rank, world_size, repeats)
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps(seconds))
    dist.destroy_process_group()


def measure_turnover(repeats: int) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(turnover_rank, args=(2, repeats, folder), nprocs=2)
        between_two = json.loads(Path(folder, "seconds.json").read_text())
    alone = turnovers(new_store(), 0, 1, repeats)
    rows = []
    for world_size, seconds in ((1, alone), (2, between_two)):
        sampler = DistributedSampler(range(N), num_replicas=world_size, rank=0)
        plain = median_seconds(lambda sampler=sampler: next(iter(sampler)), repeats)
        ours = statistics.median(seconds)
        rows.append(
            {"world_size": world_size, "ms": 1e3 * ours, "sampler_ms": 1e3 * plain, "ratio": ours / plain}
        )
    return rows


def measure_queries(repeats: int) -> dict[str, float]:
    store = new_store()
    store.push(np.arange(N), lognormal_scores(0), 0)
    store.plan(1)
    store.plan(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.npz")
        return {
            "stats_ms": 1e3 * median_seconds(store.stats, repeats),
            "top_50_ms": 1e3 * median_seconds(lambda: store.top(50), repeats),
            "save_ms": 1e3 * median_seconds(lambda: store.save(path), repeats),
            "load_ms": 1e3 * median_seconds(lambda: store.load(path), repeats),
            "memory_bytes_per_example": store.stats().memory_bytes / N,
            "file_bytes_per_example": path.stat().st_size / N,
        }


def table_of(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{v:,.3g}" if isinstance(v, float) else f"{v}" for v in row.values()))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="fewer repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    repeats = 3 if options.short else 11
    figures = {
        "dataset_size": N,
        "push": measure_push(repeats),
        "turnover": measure_turnover(repeats),
        "queries": measure_queries(repeats),
    }
    console = Console()
    console.print(table_of(f"push, N = {N:,}", figures["push"]))
    console.print(table_of(f"turnover, N = {N:,}, r = 0.35, β = 0.25", figures["turnover"]))
    console.print(table_of("queries", [figures["queries"]]))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
