"""The embedded store at ImageNet's size: pushes, queries, files and memory.

The references are the plain operations that the store cannot do without: NumPy's assignment and partition,
and writing and reading a file of the same size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.result import Cell, Options, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist import PruningConfig, connect
from sadp_dist.store import Store

N = 1_281_167
PRUNING = PruningConfig(ratio=0.35, epochs=1000, min_probability=0.25)
BATCH_SIZES = (256, 4_096, 65_536, N)


def measure(options: Options) -> Result:
    """Measure pushes against NumPy's assignments, and queries against one pass over the scores."""
    turns = 5 if options.short else 15
    with connect("memory:", "benchmark", N, PRUNING) as store:
        pushes, push_ratios = measure_pushes(store, BATCH_SIZES[:2] if options.short else BATCH_SIZES, turns)
        questions, question_ratios = measure_questions(store, turns)
        return Result([pushes, questions], push_ratios + question_ratios)


def measure_pushes(store: Store, sizes: tuple[int, ...], turns: int) -> tuple[Table, list[Ratio]]:
    """Measure pushes of an epoch's scores in random order, by batch size, and into two plain tables."""
    scores, epochs = np.zeros(N, np.float32), np.zeros(N, np.int32)
    new = np.random.default_rng(0).lognormal(size=N).astype(np.float32)
    order = np.random.default_rng(0).permutation(N)
    rows: list[list[Cell]] = []
    ratios = []
    numbers = count(1)
    for size in sizes:
        batches = [order[start : start + size] for start in range(0, N, size)]
        values = [new[batch] for batch in batches]

        def push(batches: list[np.ndarray] = batches, values: list[np.ndarray] = values) -> None:
            epoch = next(numbers)
            for batch, value in zip(batches, values, strict=True):
                store.push(batch, value, epoch)

        def assign(batches: list[np.ndarray] = batches, values: list[np.ndarray] = values) -> None:
            for batch, value in zip(batches, values, strict=True):
                scores[batch] = value
                epochs[batch] = 1

        seconds = in_turns({"push": push, "assign": assign}, turns)
        ours, plain = median(seconds["push"]), median(seconds["assign"])
        rows.append([f"{size:,}", N / ours / 1e6, 1e6 * ours / len(batches), N / plain / 1e6])
        ratio = median_ratio(seconds["push"], seconds["assign"])
        ratios.append(Ratio(f"push of {size:,} / NumPy's assignments", ratio, "lower", slack=2))
    columns = ["scores per push", "million scores/s", "µs per push", "NumPy, million scores/s"]
    note = (
        "All examples are pushed in random order. A push checks its arrays, keeps the larger of two scores "
        "of an epoch, and keeps the score of the epoch before. NumPy only assigns the same arrays to two "
        "tables."
    )
    return Table(f"Pushing N = {N:,} scores", columns, rows, note), ratios


def measure_questions(store: Store, turns: int) -> tuple[Table, list[Ratio]]:
    """Measure queries of a run with two plans, its file and its memory."""
    store.plan(1)
    store.plan(2)
    scores = store.scores(np.arange(N))
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Path(folder, "store.npz"), Path(folder, "plain.npy")
        store.save(ours)
        data = np.random.default_rng(0).bytes(ours.stat().st_size)
        plain.write_bytes(data)
        actions: dict[str, Callable[[], Any]] = {
            "stats": store.stats,
            "top 50": lambda: store.top(50),
            "partition of the scores by NumPy": lambda: np.partition(scores, N - 50),
            "count of the scores by NumPy": lambda: np.bincount(scores.view(np.uint32) >> 16),
            "save": lambda: store.save(ours),
            "write as many bytes": lambda: plain.write_bytes(data),
            "load": lambda: store.load(ours),
            "read as many bytes": plain.read_bytes,
        }
        seconds = in_turns(actions, turns)
        size = ours.stat().st_size
    rows: list[list[Cell]] = [[name, 1e3 * median(taken)] for name, taken in seconds.items()]
    note = (
        f"With two plans, an example takes {store.stats().memory_bytes / N:.1f} bytes in memory and "
        f"{size / N:.1f} in the file. A save writes a temporary file, syncs it to disk and renames it."
    )
    beside = [
        # NumPy's partition takes a sixth of the time where it has a kernel for the processor's vectors.
        ("top 50", "partition of the scores by NumPy", None),
        ("stats", "partition of the scores by NumPy", None),
        ("top 50", "count of the scores by NumPy", 3.0),
        ("stats", "count of the scores by NumPy", 3.0),
        ("save", "write as many bytes", None),
        ("load", "read as many bytes", None),
    ]
    ratios = [
        Ratio(f"{name} / {bound}", median_ratio(seconds[name], seconds[bound]), "lower", slack=slack)
        for name, bound, slack in beside
    ]
    return Table("Queries and files", ["operation", "ms"], rows, note), ratios
