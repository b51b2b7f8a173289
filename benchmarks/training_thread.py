"""Time per step that the training thread spends in the store and the sampler.

In a step, the thread takes the next indices from the sampler, looks up their weights and pushes their
scores. The scorer's hooks are not included. The times depend on what the training step leaves in the
processor's caches, so there are two kinds of steps: a dispatching step runs many small operations, like a
thread that drives a GPU; a computing step trains a spiking network on this processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.servers import ray_cluster, redis_server
from sadp_dist import PruningConfig, connect
from sadp_dist.loading import PruningSampler

N = 1_281_167  # ImageNet
BATCH = 256
GOAL = 20.0
"""Microseconds a step."""
PARTS = ("iteration", "weights", "push")


def measure(options: Options) -> Result:
    """Measure steps with every backend."""
    torch.set_num_threads(1)  # the other cores are the store's, as beside a GPU
    steps = 300 if options.short else 3_000
    rows: list[list[str | float]] = []
    ratios: list[Ratio] = []
    with ExitStack() as servers:
        backends = {"embedded": "memory:", "Redis": servers.enter_context(redis_server()).url}
        if not options.short:
            backends["Ray"] = servers.enter_context(ray_cluster())
        for backend, url in backends.items():
            spent = spend(url, dispatching(), steps)
            rows.append([backend, "dispatching", *spent.row()])
            ratios += [
                Ratio(f"{backend}, dispatching: total / {GOAL:g} µs", spent.step / GOAL, "lower", goal=1),
                Ratio(
                    f"{backend}, dispatching: total / without a store",
                    spent.step / spent.plain,
                    "lower",
                    slack=2,
                ),
            ]
            if not options.short:
                spent = spend(url, computing(), steps // 200)
                rows.append([backend, "computing", *spent.row()])
                share = spent.step / (0.001 * spent.between)
                ratios.append(
                    Ratio(f"{backend}, computing: total / 0.1 % of the training step", share, "lower", goal=1)
                )
    columns = ["store", "kind of step", *(f"{part}, µs" for part in PARTS)]
    columns += ["total, µs", "total, 99th percentile, µs", "without a store, µs", "training step, ms"]
    note = (
        f"Batches of {BATCH} from N = {N:,} on the CPU. Medians of {steps:,} dispatching steps and of "
        f'{steps // 200} computing steps. "Without a store" takes as many integers from a list and copies '
        "the step's indices and scores."
    )
    return Result([Table("Time of the training thread in a step", columns, rows, note)], ratios)


def dispatching() -> Callable[[], Any]:
    """Run a step of many small operations, in which the thread runs Python and torch but moves no data."""
    network = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(40)))
    images = torch.randn(2, 8)
    return lambda: network(images).sum().backward()


def computing() -> Callable[[], Any]:
    """Run a step of the small spiking network on a batch."""
    from sadp_dist.snn import build_network  # takes longer to import than a short run to measure

    network = build_network("small_cnn", num_classes=10, time_steps=4)
    images = torch.rand(BATCH, 3, 32, 32)
    return lambda: network(images).sum().backward()


class Spent(NamedTuple):
    """Microseconds of the steps.

    Attributes:
        parts: (steps, 3), time of each of `PARTS`.
        plains: (steps,), time to take a batch from a list and copy the same arrays.
        steps: (steps,), time of the training step itself.
    """

    parts: np.ndarray
    plains: np.ndarray
    steps: np.ndarray

    @property
    def step(self) -> float:
        """The median of the sum of all parts."""
        return float(np.median(self.parts.sum(axis=1)))

    @property
    def plain(self) -> float:
        return float(np.median(self.plains))

    @property
    def between(self) -> float:
        return float(np.median(self.steps))

    def row(self) -> list[float]:
        slowest = np.percentile(self.parts.sum(axis=1), 99)
        medians = np.median(self.parts, axis=0)
        return [*map(float, medians), self.step, float(slowest), self.plain, self.between / 1e3]


def spend(url: str, train: Callable[[], Any], steps: int, warm_up: int = 5) -> Spent:
    """Train this many steps on batches of a plan, and push their scores."""
    pruning = PruningConfig(ratio=0.35, epochs=100, min_probability=0.25)
    scores = torch.rand(BATCH)
    clock = time.perf_counter
    seconds = []
    with connect(url, "training-thread", N, pruning) as store:
        sampler = PruningSampler(store, BATCH)
        sampler.set_epoch(0)
        ours, plain = iter(sampler), iter(sampler.indices.tolist())
        for _ in range(warm_up + steps):
            began = clock()
            train()
            trained = clock()
            listed = list(islice(ours, BATCH))
            iterated = clock()
            indices = torch.tensor(listed)  # the loader does this, elsewhere
            asked = clock()
            weights = sampler.weights(indices)
            weighted = clock()
            valid = weights > 0  # the script does
            begin = clock()
            store.push(indices, scores, epoch=0, valid=valid)
            pushed = clock()
            train()  # what is compared finds the caches alike
            start = clock()
            kept = list(islice(plain, BATCH)), indices.numpy().copy(), scores.numpy().copy()
            copied = clock()
            del kept
            parts = iterated - trained, weighted - asked, pushed - begin
            seconds.append([*parts, copied - start, trained - began])
    microseconds = 1e6 * np.array(seconds[warm_up:])
    return Spent(microseconds[:, :3], microseconds[:, 3], microseconds[:, 4])
