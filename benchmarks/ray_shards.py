"""A plan over several Ray actors, up to a hundred million examples on one machine.

    python -m benchmarks.ray_shards [--short] [--json FILE]

For each size, with one actor and with four: the seconds from the last rank's asking to the plan; of the
snapshot that is written before a shard is given out; and from asking for a shard, 1/8 of the plan, to having
it. Beside them bytes an example: what is kept, and the most that all actors together had in memory of their
own at a time, less what as many without examples have. Then by how much each grows from one size to the next.
"""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks.servers import ray_cluster
from benchmarks.store import table_of
from sadp_dist import PruningConfig
from sadp_dist.selection import Shard
from sadp_dist.selection.parts import BLOCK
from sadp_dist.store import StoreOptions, remove_run
from sadp_dist.store.frames import MAX_COUNT, Frame
from sadp_dist.store.ray.connection import RayConnection
from sadp_dist.store.ray.home import open_connection
from sadp_dist.store.records import Records
from sadp_dist.store.retry import until_reached
from sadp_dist.store.run import Run

SIZES = (1_000_000, 10_000_000, 100_000_000)
SHARDS = (1, 4)
RANKS = 8
PATIENCE = 600.0
PRUNING = PruningConfig(ratio=0.35, epochs=100, min_probability=0.25)
ACTORS = ("ray::RunActor", "ray::TableActor")
FIGURES = ("plan_s", "snapshot_s", "shard_s", "kept_bytes", "peak_bytes")


def send_scores(connection: RayConnection, dataset_size: int, epoch: int) -> None:
    """A score for every example."""
    chance, client = np.random.default_rng(epoch), secrets.randbits(63)
    for number, start in enumerate(range(0, dataset_size, MAX_COUNT), start=1):
        indices = np.arange(start, min(start + MAX_COUNT, dataset_size))
        scores = chance.lognormal(size=len(indices)).astype(np.float32)
        frame = Frame(client, number, 1, Records(indices, scores, epoch))
        until_reached(lambda frame=frame: connection.send([frame]), PATIENCE)


def turn(connection: RayConnection, epoch: int) -> tuple[list[float], Shard]:
    """Seconds of the plan, of its snapshot and of a shard; and the shard."""

    def ask(rank: int) -> None:
        until_reached(lambda: connection.ask(epoch, rank, RANKS), PATIENCE)

    for rank in range(1, RANKS):
        ask(rank)
    times = [perf_counter()]
    ask(0)
    times.append(perf_counter())
    ask(0)  # whatever comes after a plan has it written first
    times.append(perf_counter())
    shard = until_reached(lambda: connection.shard(epoch, 0, RANKS, patience=1), PATIENCE)
    times.append(perf_counter())
    assert isinstance(shard, Shard)
    return np.diff(times).tolist(), shard


def measure(url: str, dataset_size: int, shards: int, folder: str, epochs: int) -> tuple[dict, Shard]:
    """The figures of one size and number of actors, and the last shard."""
    options = StoreOptions(shards=shards, snapshot=folder)
    open_connection(url, Run("small", shards * BLOCK, PRUNING), options)
    small = own_memory()
    remove_run(url, "small")
    run = Run(f"{dataset_size} on {shards}", dataset_size, PRUNING)
    connection = open_connection(url, run, options)
    seconds = []
    with peak_memory() as peak:
        for epoch in range(epochs):
            send_scores(connection, dataset_size, epoch)
            its, shard = turn(connection, epoch)
            seconds.append(its)
    figures: dict[str, Any] = {"dataset_size": dataset_size, "shards": shards}
    figures |= zip(FIGURES[:3], (median(its) for its in zip(*seconds[1:], strict=True)), strict=True)
    figures["kept_bytes"] = connection.stats().memory_bytes / dataset_size
    figures["peak_bytes"] = (peak[0] - small) / dataset_size
    remove_run(url, run.name)
    return figures, shard


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most that the actors take within it: its one element."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], own_memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        over.set()
        watching.join()


def own_memory() -> int:
    """Bytes of all actors together, without what they share with Ray."""
    processes = psutil.process_iter(["name", "memory_info"])
    memory = [process.info["memory_info"] for process in processes if process.info["name"] in ACTORS]
    return sum(its.rss - its.shared for its in memory)


def growth(smaller: dict[str, Any], larger: dict[str, Any]) -> dict[str, Any]:
    """By how much seconds and bytes grow; bytes are per example, so theirs is times that of the sizes."""
    times = larger["dataset_size"] / smaller["dataset_size"]
    grown = {name: larger[name] / smaller[name] * (times if "bytes" in name else 1) for name in FIGURES}
    return {
        "dataset_size": larger["dataset_size"],
        "shards": larger["shards"],
        **grown,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="up to ten million examples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    rows = []
    with ray_cluster() as url, tempfile.TemporaryDirectory() as folder:
        for size in SIZES[:2] if options.short else SIZES:
            (on_one, expected), (on_several, got) = (measure(url, size, n, folder, 4) for n in SHARDS)
            np.testing.assert_array_equal(got.indices, expected.indices)
            np.testing.assert_array_equal(got.weights, expected.weights)
            rows += [on_one, on_several]
    grown = [growth(*pair) for pair in zip(rows, rows[len(SHARDS) :], strict=False)]
    console = Console()
    console.print(table_of("seconds, and bytes an example", rows))
    console.print(table_of("times as much as at a tenth of the size", grown))
    if options.json is not None:
        options.json.write_text(json.dumps({"sizes": rows, "growth": grown}, indent=2) + "\n")


if __name__ == "__main__":
    main()
