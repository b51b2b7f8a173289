"""A plan over several Ray actors, as large as this machine's memory allows.

For each size, with one actor and with four: the seconds from the last rank's asking to the plan; of the
snapshot that is written before a shard is given out; and from asking for a shard, 1/8 of the plan, to having
it. Beside them bytes an example: what is kept, and the most that all actors together had in memory of their
own at a time, less what as many with a few examples have. What a thousand million examples would take is
calculated from the last two sizes.
"""

from __future__ import annotations

import math
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import psutil

from benchmarks.result import Cell, Options, Plot, Ratio, Result, Table
from benchmarks.servers import ray_cluster
from sadp_dist import PruningConfig
from sadp_dist.selection import Shard
from sadp_dist.selection.parts import BLOCK
from sadp_dist.store import StoreOptions, remove_run
from sadp_dist.store.backends.ray.backend import open_connection
from sadp_dist.store.backends.ray.connection import RayConnection
from sadp_dist.store.client.retry import until_reached
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.validation import Records
from sadp_dist.store.wire.frames import MAX_COUNT, Frame

SIZES = (1_000_000, 10_000_000, 50_000_000)
BEYOND = 1_000_000_000
SHARDS = (1, 4)
RANKS = 8
PATIENCE = 600.0
PRUNING = PruningConfig(ratio=0.35, epochs=100, min_probability=0.25)
ACTORS = ("ray::RunActor", "ray::TableActor")


class Figures(NamedTuple):
    """Of one size and number of actors."""

    dataset_size: int
    actors: int
    plan: float
    snapshot: float
    shard: float
    kept: float
    peak: float


def measure(options: Options) -> Result:
    """The figures of all sizes; the shards of one actor and of several are compared bit for bit."""
    sizes, actors = (SIZES[:1], (2,)) if options.short else (SIZES, SHARDS)
    figures: list[Figures] = []
    with ray_cluster() as url, tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            epochs = 2 if options.short or size == SIZES[-1] else 4
            of_size, shards = zip(*(_measure(url, size, n, folder, epochs) for n in actors), strict=True)
            for shard in shards[1:]:
                np.testing.assert_array_equal(shard.indices, shards[0].indices)
                np.testing.assert_array_equal(shard.weights, shards[0].weights)
            figures += of_size
    columns = [
        "N",
        "actors",
        "plan, s",
        "its snapshot, s",
        "one shard of 8, s",
        "bytes kept an example",
        "bytes at the peak",
    ]
    tables = [Table("A plan over Ray actors on one machine", columns, [list(its) for its in figures])]
    if options.short:
        return Result(tables)
    tables.append(_beyond(figures, columns))
    (smaller, larger) = figures[-2 * len(SHARDS) + 1], figures[-1]
    growth = (larger.plan / larger.dataset_size) / (smaller.plan / smaller.dataset_size)
    ratios = [
        Ratio(
            f"seconds of a plan an example, N = {larger.dataset_size:,} / N = {smaller.dataset_size:,}",
            growth,
            "lower",
            goal=1.5,
        ),
        Ratio(
            f"bytes an example at the peak, N = {larger.dataset_size:,} / N = {smaller.dataset_size:,}",
            larger.peak / smaller.peak,
            "lower",
            goal=1.1,
        ),
    ]
    return Result(tables, ratios, [_plot(figures)])


def _beyond(figures: Sequence[Figures], columns: Sequence[str]) -> Table:
    """What BEYOND examples would take, were growth to go on as it did between the last two sizes."""
    rows: list[list[Cell]] = []
    for smaller, larger in zip(figures[-4:-2], figures[-2:], strict=True):
        sizes = math.log(larger.dataset_size / smaller.dataset_size)
        beyond = BEYOND / larger.dataset_size

        def grown(name: str, smaller=smaller, larger=larger, sizes=sizes, beyond=beyond) -> float:
            power = math.log(getattr(larger, name) / getattr(smaller, name)) / sizes
            return float(getattr(larger, name) * beyond ** max(power, 1.0))

        rows.append(
            [BEYOND, larger.actors, *map(grown, ("plan", "snapshot", "shard")), larger.kept, larger.peak]
        )
    return Table(
        f"Calculated, not measured: {BEYOND:,} examples on one machine like this",
        columns,
        rows,
        "Seconds by the power of the size that they grew with from the last size but one to the last, and at "
        "least in proportion; bytes an example as they were at the last.",
    )


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


def _measure(url: str, dataset_size: int, actors: int, folder: str, epochs: int) -> tuple[Figures, Shard]:
    """The figures of one size and number of actors, and the last shard."""
    options = StoreOptions(shards=actors, snapshot=folder)
    few = open_connection(url, Run("small", actors * BLOCK, PRUNING), options)
    send_scores(few, actors * BLOCK, 0)
    turn(few, 0)
    small = own_memory()
    remove_run(url, "small")
    run = Run(f"{dataset_size} on {actors}", dataset_size, PRUNING)
    connection = open_connection(url, run, options)
    seconds = []
    with peak_memory() as peak:
        for epoch in range(epochs):
            send_scores(connection, dataset_size, epoch)
            its, shard = turn(connection, epoch)
            seconds.append(its)
    plan, snapshot, of_shard = (median(its) for its in zip(*seconds[1:], strict=True))
    kept = connection.stats().memory_bytes / dataset_size
    remove_run(url, run.name)
    return Figures(
        dataset_size, actors, plan, snapshot, of_shard, kept, (peak[0] - small) / dataset_size
    ), shard


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


def _plot(figures: Sequence[Figures]) -> Plot:
    lines = {
        f"{actors} actor{'s' * (actors > 1)}": [
            (its.dataset_size, its.plan) for its in figures if its.actors == actors
        ]
        for actors in SHARDS
    }
    return Plot("ray_shards", "Planning over Ray actors", "examples", "seconds", lines, True, True)
