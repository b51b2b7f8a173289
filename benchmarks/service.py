"""Push, apply, plan and turnover of every store, by batch size, ranks and N.

The ranks are real processes. They push scores of all N examples, each rank its part. Four times are
measured:

- a call of `push`;
- applying the scores: from the first push until all scores are in the table;
- a plan without new scores;
- the turnover: from the last push of an epoch to the first index of the next.

The reference is the bare transport of the same arrays: gloo into NumPy's tables, SET in Redis, calls of a
Ray actor. All processes run on one machine and communicate over loopback.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from math import ceil
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.between_epochs import distributed_sampler_seconds, infobatch_seconds
from benchmarks.job import Job, meet
from benchmarks.result import Cell, Options, Plot, Ratio, Result, Table
from benchmarks.servers import ray_cluster, redis_server
from benchmarks.transport import hash_per_second, scores_of, send_bare
from sadp_dist import PruningConfig, connect
from sadp_dist.store import remove_run

IMAGENET = 1_281_167
PRUNING = PruningConfig(ratio=0.35, epochs=1000, min_probability=0.25)
BATCH, FRAME = 256, 65_536
"""Scores of a training step, and of a full frame on the wire."""
PAUSE = 0.15, 2e-7
"""Seconds, and seconds an example, before what is timed: pushes arrive and snapshots get written, as they do
in the course of a training epoch."""
TIMES = 2
"""How often an epoch scores each example, so that a plan is little beside applying them."""
_runs = count(1)


class Setting(NamedTuple):
    """A job: its ranks, N, and the number of scores per push."""

    ranks: int
    dataset_size: int
    batch_size: int


class Figures(NamedTuple):
    """Seconds of the slowest rank, medians over the rounds.

    Attributes:
        push: all calls of `push` that score each example once.
        applied: from the first push until N scores are applied: until the next plan, minus `plan`.
        plan: an epoch's plan without pushes before it.
        turnover: from an epoch's last push to the first index of the next.
        bare: the bare transport with the same arrays, as many per call as in a full frame.
        bare_batches: the bare transport, as many per call as in a push; None if not measured.
    """

    push: float
    applied: float
    plan: float
    turnover: float
    bare: float
    bare_batches: float | None


def measure(options: Options) -> Result:
    """Measure every backend; a short run leaves out Ray, which takes long to start."""
    short = options.short
    size, rounds = (300_000, 3) if short else (IMAGENET, 4)
    ranks = (2,) if short else (1, 2, 4, 8, 16)
    batches = (BATCH,) if short else (BATCH, 4_096, FRAME)
    sizes = (size,) if short else (100_000, size, 10_000_000)
    settings = [
        *(Setting(2, size, batch_size) for batch_size in batches),
        *(Setting(number, size, BATCH) for number in ranks if number != 2),
        *(Setting(2, dataset_size, BATCH) for dataset_size in sizes if dataset_size != size),
    ]
    found: dict[str, dict[Setting, Figures]] = {}
    with ExitStack() as open_now:
        backends = {"embedded": "memory:", "Redis": open_now.enter_context(redis_server()).url}
        if not short:
            backends["Ray"] = open_now.enter_context(ray_cluster())
        job = open_now.enter_context(
            Job(max(ranks))
        )  # after the servers: Ray's address is in the environment
        for backend, url in backends.items():
            found[backend] = {setting: figures_of(job, backend, url, setting, rounds) for setting in settings}
        by_hash = hash_per_second(backends["Redis"], size, size // 10)
    samplers = {n: distributed_sampler_seconds(n, 2, 3) for n in {size, *sizes}}
    infobatch = infobatch_seconds(size, 2, 3)
    base = Setting(2, size, BATCH)
    tables = [table_of(backend, theirs, samplers) for backend, theirs in found.items()]
    tables.append(
        Table(
            f"Between two epochs, N = {size:,}, two ranks",
            ["operation", "ms"],
            [
                *([f"{backend}: turnover", 1e3 * theirs[base].turnover] for backend, theirs in found.items()),
                ["DistributedSampler: list of all examples", 1e3 * samplers[size]],
                ["InfoBatch: pruning and order, with the steps of its code", 1e3 * infobatch],
            ],
            "Everything runs over loopback on the same cores. With more processes than cores, times "
            "include the ranks' waits for each other.",
        )
    )
    ratios = [*ratios_of(found, base, samplers[size], infobatch, by_hash, batches)]
    return Result(tables, ratios, [] if short else plots_of(found, ranks, sizes))


def figures_of(job: Job, backend: str, url: str, setting: Setting, rounds: int) -> Figures:
    """Measure a job, and the bare transport in the same processes."""
    ranks, dataset_size, batch_size = setting
    run = f"service-{next(_runs)}"
    rounds = rounds if dataset_size <= IMAGENET else 3
    # (ranks, rounds, what) -> the slowest rank of each round -> medians
    seconds = np.array(job.run(score_epochs, ranks, url, run, dataset_size, batch_size, rounds)).max(axis=0)
    pushed, _, plan, turnover = np.median(seconds, axis=0)
    # On a busy machine one alone may take longer than one with pushes: those take at least their calls.
    applied = float(np.median(np.maximum(seconds[:, 1] - seconds[:, 2], seconds[:, 0]))) / TIMES
    if backend != "embedded":
        remove_run(url, run)

    def bare(size: int) -> float:
        every = job.run(send_bare, ranks, backend, url, dataset_size, size, rounds)
        return median(map(max, zip(*every, strict=True)))

    of_batches = bare(batch_size) if ranks == 2 and dataset_size <= IMAGENET else None
    return Figures(float(pushed) / TIMES, applied, float(plan), float(turnover), bare(FRAME), of_batches)


def score_epochs(
    rank: int, world_size: int, url: str, run: str, dataset_size: int, batch_size: int, rounds: int
) -> list[list[float]]:
    """Return the seconds of a rank in each round: pushes; first push to next plan; a plan; turnover."""
    batches = scores_of(rank, world_size, dataset_size, batch_size)
    epochs = count(1)
    clock = time.perf_counter
    pause = 0.0 if url == "memory:" else max(PAUSE[0], PAUSE[1] * dataset_size)
    seconds = []
    with connect(url, run, dataset_size, PRUNING, planner="server") as store:

        def plan() -> int:
            epoch = next(epochs)
            int(store.plan(epoch, rank, world_size).indices[0])
            return epoch

        def settle() -> None:
            time.sleep(pause)
            meet()

        epoch = plan()
        for number in range(-1, rounds):  # in the first one all compiles
            settle()
            began = clock()
            for batch in TIMES * batches:
                store.push(*batch, epoch)
            pushed = clock()
            epoch = plan()
            applied = clock()
            settle()
            asked = clock()
            epoch = plan()
            planned = clock()
            for batch in batches[:-1]:
                store.push(*batch, epoch)
            settle()
            ending = clock()
            store.push(*batches[-1], epoch)
            epoch = plan()
            turned = clock()
            if number >= 0:
                seconds.append([pushed - began, applied - began, planned - asked, turned - ending])
    return seconds


def table_of(backend: str, found: Mapping[Setting, Figures], samplers: Mapping[int, float]) -> Table:
    """Return a table with a row for each job."""
    rows: list[list[Cell]] = []
    for (ranks, size, batch), figures in sorted(found.items()):
        pushes = ceil(size / ranks / batch)
        same = figures.bare_batches
        rows.append(
            [
                f"{ranks}",
                size,
                batch,
                1e6 * figures.push / pushes,
                size / figures.applied / 1e6,
                figures.bare / figures.applied,
                None if same is None else same / figures.applied,
                1e3 * figures.plan,
                1e3 * figures.turnover,
                1e3 * samplers[size],
            ]
        )
    columns = ["ranks", "N", "batch", "µs per push", "scores applied, million/s"]
    columns += ["/ bare transport, frames", "/ bare transport, batches", "plan, ms", "turnover, ms"]
    columns.append("DistributedSampler, ms")
    note = (
        "The columns with / divide the scores per second by those of the bare transport from the same ranks, "
        f"in frames of {FRAME:,} scores or in batches of the same size. The time in which torch's "
        "DistributedSampler makes its list of all examples is for comparison with the turnover."
    )
    return Table(
        f"The store in {backend}" if backend != "embedded" else "The embedded store", columns, rows, note
    )


def ratios_of(
    found: Mapping[str, Mapping[Setting, Figures]],
    base: Setting,
    sampler: float,
    infobatch: float,
    by_hash: float,
    batches: tuple[int, ...],
) -> Iterator[Ratio]:
    """Return the ratios."""
    least = {"embedded": None, "Redis": 1 / 3, "Ray": 1 / 2}
    for backend, theirs in found.items():
        for batch in batches:
            figures = theirs[base._replace(batch_size=batch)]
            assert figures.bare_batches is not None
            share = figures.bare_batches / figures.applied
            yield Ratio(
                f"{backend}, batches of {batch:,}: scores applied / bare transport",
                share,
                "higher",
                least[backend],
                slack=2.5,
            )
        figures = theirs[base]
        yield Ratio(f"{backend}: turnover / DistributedSampler", figures.turnover / sampler, "lower")
        yield Ratio(f"{backend}: turnover / InfoBatch", figures.turnover / infobatch, "lower", 1, slack=2.5)
        promised = 0.05 if backend == "embedded" else 0.15
        if base.dataset_size == IMAGENET:
            name = f"{backend}: turnover / {1e3 * promised:g} ms"
            yield Ratio(name, figures.turnover / promised, "lower", goal=1)
    applied = base.dataset_size / found["Redis"][base].applied
    yield Ratio("Redis: scores applied / one HSET per example", applied / by_hash, "higher", 50, slack=2.5)


def plots_of(
    found: Mapping[str, Mapping[Setting, Figures]], ranks: tuple[int, ...], sizes: tuple[int, ...]
) -> list[Plot]:
    """Return plots by ranks and by N."""
    by_ranks = {
        backend: [(float(n), IMAGENET / theirs[Setting(n, IMAGENET, BATCH)].applied / 1e6) for n in ranks]
        for backend, theirs in found.items()
    }
    by_size = {
        backend: [(float(n), 1e3 * theirs[Setting(2, n, BATCH)].turnover) for n in sizes]
        for backend, theirs in found.items()
    }
    return [
        Plot("service-ranks", f"Scores applied, N = {IMAGENET:,}", "ranks", "million/s", by_ranks, True),
        Plot("service-turnover", "Turnover, two ranks", "N", "ms", by_size, log_x=True, log_y=True),
    ]
