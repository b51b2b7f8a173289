"""Planning an epoch of up to 100 million examples in one process.

For each size: the plan of an epoch and its shards for 8 ranks, with all threads and with one. For comparison,
one thread copies the arrays that a plan reads and writes, into allocated memory. Bytes per example are the
peak of the process, including scores, plan and all shards, minus its memory before the scores existed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import peak_bytes, resident_bytes
from benchmarks.result import Options, Plot, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.selection import PruningConfig, Shard, plan_epoch
from sadp_dist.selection.passes import thread_count
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run

SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
STEADY = 10_000_000
"""Sizes from here on do not fit into the caches, so seconds grow with the work."""
RANKS = 8
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
    ratios.append(
        Ratio(f"plan and shards / copy, processor's time, N = {STEADY:,}", work, "lower", slack=2.5)
    )
    ratios.append(
        Ratio(
            f"bytes an example at the peak, N = {largest:,}",
            figures[largest].peak,
            "lower",
            goal=32,
            slack=1.3 if options.short else None,
        )
    )
    if not options.short:
        growth = seconds[largest] / seconds[STEADY]
        ratios.append(Ratio(f"seconds, N = {largest:,} / N = {STEADY:,}", growth, "lower", goal=15))
        ratios.append(
            Ratio(f"seconds of plan and shards, N = {largest:,}", seconds[largest], "lower", goal=3)
        )
    return Result(
        [_table(figures), _of_store(STEADY // 10 if options.short else largest)], ratios, [_plot(figures)]
    )


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
        f"The plan of an epoch and its shards for {RANKS} ranks, r = {PRUNING.ratio}",
        [
            "N",
            "plan and shards, ms",
            "of it shards, ms",
            "in one thread, ms",
            "ns an example",
            "share of the memory's speed",
            "bytes an example",
        ],
        rows,
        f"Up to {thread_count()} threads.",
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
        "A store's engine: two plans kept, the third made",
        ["N", "plan and its figures for people, ms", "bytes kept an example", "at the peak"],
        [[N, 1e3 * median(times), engine.stats().memory_bytes / N, peak]],
        "Each example has its score, the score's epoch and the score before: 12 bytes.",
    )


def _plot(figures: dict[int, Figures]) -> Plot:
    lines = {
        "plan and shards": [(N, median(its.whole)) for N, its in figures.items()],
        "in one thread": [(N, median(its.one_thread)) for N, its in figures.items()],
        "copy of what it reads and makes": [(N, median(its.copy)) for N, its in figures.items()],
    }
    return Plot("planning", "Planning an epoch", "examples", "seconds", lines, log_x=True, log_y=True)
