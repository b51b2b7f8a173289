"""Planning an epoch of up to 100 million examples in one process.

For each N, the first table has the time of an epoch's plan with its shards for 8 ranks, with all threads and
with one. The reference is a copy of the same arrays by one thread. The peak memory is that of the process
with the scores, the plan and all shards, minus its memory before the scores existed.

The last table compares this version with an earlier one (`--against REVISION`): processes take turns, and in
each of them an embedded store plans epochs of ImageNet's size.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import peak_bytes, resident_bytes
from benchmarks.result import Options, Plot, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, Shard, plan_epoch
from sadp_dist.selection.passes import thread_count
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run

SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
STEADY = 10_000_000
"""Sizes from here on do not fit into the caches, so seconds grow with the work."""
RANKS = 8
IMAGENET = 1_281_167
EARLIER = "055b61b"
"""The last revision before plans were made over plain arrays: what `--against` compares with by default."""
ROOT = Path(__file__).parents[1]
PRUNING = PruningConfig(ratio=0.35, epochs=100, min_probability=0.25, seed=1)


class Figures(NamedTuple):
    """Seconds of every turn and bytes per example, for one size."""

    whole: list[float]
    one_thread: list[float]
    shards: list[float]
    copy: list[float]
    peak: float


def measure(options: Options) -> Result:
    """Measure all sizes."""
    sizes = SIZES[:-1] if options.short else SIZES
    largest = sizes[-1]
    _plan_and_shard(_scores(STEADY // 10))  # compiled, and there is memory for threads
    turns = dict(zip(SIZES, (2, 2, 1) if options.short else (9, 9, 9, 3), strict=False))
    figures = {N: _of_size(N, turns[N]) for N in sizes}
    seconds = {N: median(its.whole) for N, its in figures.items()}
    ratios = [
        Ratio(f"plan and shards / copy, N = {N:,}", median_ratio(its.whole, its.copy), "lower")
        for N, its in figures.items()
    ]
    work = _work(STEADY, 2 if options.short else 9)
    ratios.append(Ratio(f"plan and shards / copy, CPU time, N = {STEADY:,}", work, "lower", slack=2.5))
    ratios.append(
        Ratio(
            f"peak memory, bytes per example, N = {largest:,}",
            figures[largest].peak,
            "lower",
            goal=32,
            slack=1.3 if options.short else None,
        )
    )
    if not options.short:
        growth = seconds[largest] / seconds[STEADY]
        ratios.append(Ratio(f"time at N = {largest:,} / at N = {STEADY:,}", growth, "lower", goal=15))
        ratios.append(Ratio(f"plan and shards, seconds, N = {largest:,}", seconds[largest], "lower", goal=3))
    tables = [_table(figures), _of_store(STEADY // 10 if options.short else largest)]
    if options.against or not options.short:
        table, ratio = compare_with(options.against or EARLIER)
        tables.append(table)
        ratios.append(ratio)
    return Result(tables, ratios, [_plot(figures)])


def _scores(N: int) -> NDArray[np.float32]:
    """Return lognormal scores, without temporary arrays."""
    scores = np.random.default_rng(0).standard_normal(N, dtype=np.float32)
    return np.exp(scores, out=scores)


def _plan_and_shard(scores: NDArray[np.float32], epoch: int = 0) -> list[NDArray]:
    """Return the arrays of a plan and of its shards."""
    plan = plan_epoch(scores, epoch, PRUNING)
    return [plan.indices, plan.weights, *_arrays([plan.shard(rank, RANKS) for rank in range(RANKS)])]


def _arrays(shards: list[Shard]) -> list[NDArray]:
    return [array for shard in shards for array in (shard.indices, shard.weights)]


def _of_size(N: int, turns: int) -> Figures:
    before = resident_bytes()
    scores = _scores(N)
    resident_bytes()
    arrays = [scores, *_plan_and_shard(scores)]
    peak = (peak_bytes() - before) / N
    copy = _copy_of(arrays)
    del arrays
    plan = plan_epoch(scores, 0, PRUNING)

    def in_one_thread() -> None:
        with _one_thread():
            _plan_and_shard(scores)

    seconds = in_turns(
        {
            "whole": lambda: _plan_and_shard(scores),
            "one thread": in_one_thread,
            "shards": lambda: [plan.shard(rank, RANKS) for rank in range(RANKS)],
            "copy": copy,
        },
        turns,
        warm_up=int(N < STEADY),
    )
    return Figures(seconds["whole"], seconds["one thread"], seconds["shards"], seconds["copy"], peak)


def _work(N: int, turns: int) -> float:
    """Return the processor time of a plan over that of a copy; other work hardly changes it."""
    scores = _scores(N)
    copy = _copy_of([scores, *_plan_and_shard(scores)])
    seconds = in_turns(
        {"whole": lambda: _plan_and_shard(scores), "copy": copy}, turns, warm_up=0, clock=process_time
    )
    return median_ratio(seconds["whole"], seconds["copy"])


def _copy_of(arrays: list[NDArray]) -> Callable[[], None]:
    """Return a call that copies as many bytes as these arrays have, one source array per dtype."""
    shapes = [(array.dtype, len(array)) for array in arrays]
    source = {dtype: np.ones(max(n for d, n in shapes if d == dtype), dtype) for dtype, _ in shapes}
    target = {dtype: array.copy() for dtype, array in source.items()}

    def copy() -> None:
        for dtype, n in shapes:
            np.copyto(target[dtype][:n], source[dtype][:n])

    return copy


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as if there were one rank per core."""
    before = os.environ.get("LOCAL_WORLD_SIZE")
    os.environ["LOCAL_WORLD_SIZE"] = str(os.cpu_count())
    try:
        yield
    finally:
        del os.environ["LOCAL_WORLD_SIZE"]
        if before is not None:
            os.environ["LOCAL_WORLD_SIZE"] = before


def _table(figures: dict[int, Figures]) -> Table:
    rows = []
    for N, its in figures.items():
        whole = median(its.whole)
        rows.append(
            [
                N,
                1e3 * whole,
                1e3 * median(its.shards),
                1e3 * median(its.one_thread),
                1e9 * whole / N,
                median_ratio(its.copy, its.whole),
                its.peak,
            ]
        )
    return Table(
        f"The plan of an epoch with its shards for {RANKS} ranks, r = {PRUNING.ratio}",
        [
            "N",
            "plan and shards, ms",
            "shards alone, ms",
            "plan and shards in one thread, ms",
            "plan and shards, ns per example",
            "time of copy / plan and shards",
            "peak memory, bytes per example",
        ],
        rows,
        f"Up to {thread_count()} threads. The copy is of all arrays that a plan reads and writes.",
    )


def _of_store(N: int) -> Table:
    """Measure a store's engine, which keeps two plans and makes a third."""
    before = resident_bytes()
    run = Run("planning", N, PRUNING)
    engine = Engine(run)
    engine.table.scores[:] = _scores(N)
    engine.table.score_epochs.fill(0)
    resident_bytes()
    times = []
    for epoch in range(3):
        start = perf_counter()
        engine.plan(epoch)
        times.append(perf_counter() - start)
    peak = (peak_bytes() - before) / N
    return Table(
        "The engine of a store, with two plans in memory while it makes the third",
        ["N", "plan and its statistics, ms", "memory, bytes per example", "peak memory, bytes per example"],
        [[N, 1e3 * median(times), engine.stats().memory_bytes / N, peak]],
        "Of these, 12 bytes are the example's score, the epoch of that score, and the score before.",
    )


def compare_with(revision: str, pairs: int = 9) -> tuple[Table, Ratio]:
    """Compare with an earlier revision: its package and today's take turns, each in processes of its own.

    Raises:
        UsageError: git does not have the revision.
    """
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision, "sadp_dist"], capture_output=True)
    if archive.returncode:
        reason = archive.stderr.decode().strip().splitlines()[-1]
        raise UsageError(f"--against={revision}: git cannot read it ({reason}); name a revision it has")
    seconds: dict[str, list[float]] = {"today": [], revision: []}
    with TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        packages = {"today": str(ROOT), revision: folder}
        for pair in range(pairs):
            for name in list(packages)[:: 1 if pair % 2 else -1]:
                seconds[name].append(_planned(packages[name]))
    rows = [[name, 1e3 * median(times), 1e3 * min(times)] for name, times in seconds.items()]
    return (
        Table(
            f"An embedded store's plan and its shards for {RANKS} ranks, N = {IMAGENET:,}, by revision",
            ["revision", "median, ms", "fastest, ms"],
            rows,
            f"{pairs} pairs of processes.",
        ),
        Ratio(
            f"plan and shards / those of revision {revision}, N = {IMAGENET:,}",
            median_ratio(seconds["today"], seconds[revision]),
            "lower",
            goal=1.1,
        ),
    )


def _planned(package: str) -> float:
    """Return the median seconds of an epoch's plan, with the package in this folder."""
    script = [sys.executable, "-P", str(Path(__file__).with_name("planned_epochs.py"))]
    done = subprocess.run(
        [*script, str(IMAGENET), "20"],
        env={**os.environ, "PYTHONPATH": package},
        stdout=subprocess.PIPE,
        check=True,
    )
    return median(json.loads(done.stdout))


def _plot(figures: dict[int, Figures]) -> Plot:
    lines = {
        "plan and shards": [(N, median(its.whole)) for N, its in figures.items()],
        "in one thread": [(N, median(its.one_thread)) for N, its in figures.items()],
        "copy of the same arrays": [(N, median(its.copy)) for N, its in figures.items()],
    }
    return Plot("planning", "Planning an epoch", "examples", "seconds", lines, log_x=True, log_y=True)
