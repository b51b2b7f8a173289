"""A training step while another process queries the store every second.

The store is in Redis. The process that queries, the planner and the training share this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean, median

import numpy as np
import torch

from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.servers import redis_server
from sadp_dist import PruningConfig, connect

N = 1_281_167
BATCH = 256
PRUNING = PruningConfig(ratio=0.35, epochs=1000, min_probability=0.25)
ASK = """
import sys, time
from sadp_dist.store import attach
with attach(sys.argv[1], "questions") as store:
    while True:
        store.stats(), store.top(50)
        print(flush=True)
        time.sleep(1)
"""


def measure(options: Options) -> Result:
    """Measure steps of a small network in turns of some seconds, with and without queries."""
    rounds, seconds = (1, 1.0) if options.short else (6, 5.0)
    torch.set_num_threads(1)  # the other cores are the store's, as beside a GPU
    generator = np.random.default_rng(0)
    scores = generator.lognormal(size=N).astype(np.float32)
    batches = [generator.integers(0, N, BATCH) for _ in range(64)]
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 30 * 30, 10)
    )
    images = torch.randn(BATCH, 3, 32, 32)
    with redis_server() as server, connect(server.url, "questions", N, PRUNING, planner="server") as store:
        store.push(np.arange(N), scores, 0)
        store.plan(1)

        def steps(until: float) -> Iterator[float]:
            number = 0
            while time.perf_counter() < until:
                start = time.perf_counter()
                network(images).sum().backward()
                batch = batches[number % 64]
                store.push(batch, scores[batch], 1)
                number += 1
                yield 1e3 * (time.perf_counter() - start)

        alone: list[list[float]] = []
        asked: list[list[float]] = []
        for _ in range(rounds):
            alone.append(list(steps(time.perf_counter() + seconds)))
            with someone_asking(server.url):
                asked.append(list(steps(time.perf_counter() + seconds)))
    rows: list[list[str | float]] = [
        [name, median(map(median, turns)), median(map(mean, turns))]
        for name, turns in (("without queries", alone), ("with queries", asked))
    ]
    of_medians = median(median(b) / median(a) for a, b in zip(alone, asked, strict=True))
    of_means = median(mean(b) / mean(a) for a, b in zip(alone, asked, strict=True))
    return Result(
        [
            Table(
                "Training step",
                ["", "median, ms", "mean, ms"],
                rows,
                f"{rounds} turns of {seconds:g} s each.",
            )
        ],
        [
            Ratio("step with queries / without, medians", of_medians, "lower", goal=1.01, slack=2),
            Ratio("step with queries / without, means", of_means, "lower", goal=1.01),
        ],
    )


@contextmanager
def someone_asking(url: str) -> Iterator[None]:
    """Run a process that queries the store; it has begun when this yields."""
    process = subprocess.Popen([sys.executable, "-c", ASK, url], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
