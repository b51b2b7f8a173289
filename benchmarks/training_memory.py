"""Peak memory of training, with and without pruning and scores.

The first tables have the peak of the memory that torch allocates in a network's first steps, including
weights, gradients and momentum. The allocator counts it on a GPU, the profiler on a CPU. The last table has
the growth of the process from before the network exists, including the store and the plan. It is measured on
a CPU only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.result import Cell, Options, Ratio, Result, Table
from benchmarks.scoring_step import ALL, KINDS, LAST, NONE, step
from sadp_dist import PruningConfig, connect

ROOT = Path(__file__).parents[1]
GOAL = 1.01
EXAMPLES = 50_000  # in the store
STEPS = 3
MB = 2**20


def peak_of_torch(work: Callable[[], object]) -> int:
    """Return the peak of torch's allocated bytes during the call, minus those before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else its library reports on itself
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    assert profile.profiler is not None and profile.profiler.kineto_results is not None
    events: list[Any] = list(profile.profiler.kineto_results.experimental_event_tree())
    changes = []
    while events:
        event = events.pop()
        events += event.children
        if event.name == "[memory]":
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
    return int(np.cumsum([size for _, size in sorted(changes)]).max())


def steps(network: str, batch: int, scoring: dict[str, Any] | None) -> Callable[[], None]:
    """Create a network and run some steps."""

    def work() -> None:
        take = step(network, batch, scoring)
        for _ in range(STEPS):
            take()

    return work


def growth(network: str, batch: int, kind: str) -> float:
    """Return the growth in bytes of a training process; if it scores, a store plans and takes the scores."""
    command = [sys.executable, "-m", "benchmarks.training_memory", network, str(batch), kind]
    # What torch frees goes back to the system at once, so that the peak is not one of malloc's habits.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    return float(done.stdout)


def grow(network: str, batch: int, kind: str) -> int:
    """Return the `growth` of this process."""
    torch.set_num_threads(1)
    train("small_cnn", 2, LAST, examples=100)  # what is loaded when it is first used
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    train(network, batch, kind, EXAMPLES)
    return resident("VmHWM") - before


def train(network: str, batch: int, kind: str, examples: int) -> None:
    """Train two epochs of some steps, with a store of this many examples if there are scores."""
    pruning = PruningConfig(ratio=0.5, max_ratio=0.7, min_probability=0.3, epochs=2)
    store = None
    if KINDS[kind] is not None:
        store = connect("memory:", run="memory", dataset_size=examples, pruning=pruning)
    take = step(network, batch, KINDS[kind])
    for epoch in range(2):
        shard = None if store is None else store.plan(epoch=epoch)
        for number in range(STEPS):
            scores = take()
            if store is not None and shard is not None and scores is not None:
                store.push(shard.indices[number * batch :][:batch], scores, epoch=epoch)


def resident(field: str) -> int:
    """Return this process's memory in bytes, as counted by Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def measure(options: Options) -> Result:
    """See the module."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        torch.set_num_threads(1)
    networks = {"small_cnn": 64} if options.short else {"small_cnn": 64, "spiking_resnet18": 16}
    if on_gpu:
        networks = {"spiking_resnet18": 128}
    tables, ratios = [], []
    for network, batch in networks.items():
        peaks = {kind: peak_of_torch(steps(network, batch, scoring)) for kind, scoring in KINDS.items()}
        tables.append(_table(f"Peak of the memory that torch allocates: {network}, batch {batch}", peaks))
        name = f"{network}: peak of torch's memory"
        ratios += [
            Ratio(f"{name}, {LAST} / {NONE}", peaks[LAST] / peaks[NONE], "lower", GOAL, slack=1.02),
            Ratio(f"{name}, {ALL} / {NONE}", peaks[ALL] / peaks[NONE], "lower", slack=1.02),
        ]
    if not on_gpu and not options.short:
        taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(3):
            for kind, of_kind in taken.items():
                of_kind.append(growth(network, batch, kind))
        peaks = {kind: statistics.median(of_kind) for kind, of_kind in taken.items()}
        title = f"Peak growth of the process: {network}, batch {batch}, {EXAMPLES:,} examples in the store"
        tables.append(
            _table(
                title,
                peaks,
                "Medians of three processes. Processes with scores also have a store, plan and push.",
            )
        )
        name = f"{network}: peak growth of a process"
        ratios.append(Ratio(f"{name}, {LAST} / {NONE}", peaks[LAST] / peaks[NONE], "lower", GOAL))
    return Result(tables, ratios)


def _table(title: str, peaks: dict[str, int] | dict[str, float], note: str = "") -> Table:
    rows: list[list[Cell]] = [
        [kind, f"{peak / MB:,.1f}", f"{peak / peaks[NONE]:.4f}"] for kind, peak in peaks.items()
    ]
    return Table(title, ["scores of", "MiB", "relative to no scores"], rows, note)


if __name__ == "__main__":  # a process that trains
    network, batch, kind = sys.argv[1:]
    print(grow(network, int(batch), kind))
