"""Cost of a store on a cluster: bytes and seconds per epoch, measured, fitted and extrapolated.

The sizes of the arrays determine the bytes, and a count checks them. The time between two epochs is measured
from the last push to the first index of the next epoch. A model of it (a constant, a time per example, a
time per rank) is fitted to jobs of up to sixteen processes on this machine and checked with a larger job.
Each job trains on all drawn examples and pushes each score once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.job import Job, meet, tcp_bytes
from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.servers import ray_cluster, redis_server
from sadp_dist import PruningConfig, connect
from sadp_dist.selection.random import index_type
from sadp_dist.store import remove_run
from sadp_dist.store.backends.redis.lease import LOG_LIMIT
from sadp_dist.store.engine.frames import index_dtype

KEPT = 0.65
PRUNING = PruningConfig(ratio=1 - KEPT, epochs=1000, min_probability=0.25)
FRAME = 65_536
NETWORK = 10e9 / 8
"""Bytes a second of a node's network, each way: an assumption."""
PAUSE = 0.15
"""Seconds in which pushes arrive, as they do at the pace of training."""
SIZES, RANKS = (500_000, 2_000_000, 5_000_000), (2, 4, 8, 16)
HELD_OUT = 10_000_000, 8
CLUSTERS = [(size, ranks) for size in (1_280_000, 10**7, 10**8, 10**9) for ranks in (8, 64, 256, 1024)]
_runs = count(1)


class Wire(NamedTuple):
    """Bytes of an epoch at the busiest host: that of rank 0, of Redis or of the Ray actor.

    Attributes:
        into: from the ranks.
        out: to the ranks.
        planner_into: from the planner of a run in Redis.
        planner_out: to that planner. Both stay within the host if the planner runs beside Redis.
    """

    into: float
    out: float
    planner_into: float = 0.0
    planner_out: float = 0.0


def embedded_wire(dataset_size: int, subset_size: float, ranks: int) -> Wire:
    """Return the bytes of the embedded store.

    Ranks other than 0 send int64 indices and float32 scores, and get int64 indices and float64 weights.
    """
    elsewhere = subset_size * (ranks - 1) / ranks
    return Wire(12 * elsewhere, 16 * elsewhere)


def redis_wire(dataset_size: int, subset_size: float, ranks: int) -> Wire:
    """Return the bytes of a run in Redis.

    Frames of scores go to Redis and on to the planner. Shards go the other way. The planner also writes
    snapshots: one after each plan, and one whenever the log is longer than a snapshot. A snapshot has scores,
    their epochs and the scores before, 12 bytes per example, and two plans, with indices of the smallest
    dtype and float64 weights.
    """
    index = index_dtype(dataset_size).itemsize
    frames, shards = subset_size * (index + 4), subset_size * (index + 8)
    snapshot = 12 * dataset_size + 2 * subset_size * (np.dtype(index_type(dataset_size)).itemsize + 8)
    snapshots = 1 + frames // max(LOG_LIMIT, snapshot)
    return Wire(frames, shards, shards + snapshots * snapshot, frames)


def ray_wire(dataset_size: int, subset_size: float, ranks: int) -> Wire:
    """Return the bytes of a run in Ray: the same frames, and shards; all ranks are on other nodes."""
    return Wire(subset_size * (index_dtype(dataset_size).itemsize + 4), subset_size * 16)


WIRES: dict[str, Callable[[int, float, int], Wire]] = {
    "embedded": embedded_wire,
    "Redis": redis_wire,
    "Ray": ray_wire,
}


def features(dataset_size: NDArray[np.floating], ranks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the terms of the seconds between epochs, (n, 3): a constant, examples, ranks."""
    return np.column_stack([np.ones(len(ranks)), dataset_size, ranks]).astype(np.float64)


def fit(points: Sequence[tuple[int, int, float]]) -> NDArray[np.float64]:
    """Return coefficients >= 0 of `features`, (3,), with least squares of relative errors.

    Args:
        points: (N, ranks, seconds) of each job.
    """
    sizes, ranks, seconds = np.array(points, np.float64).T
    coefficients, _ = nnls(features(sizes, ranks) / seconds[:, None], np.ones(len(points)))
    return np.asarray(coefficients)


def predict(coefficients: NDArray[np.float64], dataset_size: int, ranks: int) -> float:
    """Return the seconds between epochs."""
    return float(features(np.array([dataset_size]), np.array([ranks]))[0] @ coefficients)


def on_cluster(backend: str, coefficients: NDArray[np.float64], dataset_size: int, ranks: int) -> float:
    """Return the seconds between epochs on a cluster, with the time to transfer the data.

    The data are a shard for each rank and, for the embedded store, the scores, which are sent before the next
    plan.
    """
    wire = WIRES[backend](dataset_size, KEPT * dataset_size, ranks)
    travelling = wire.out + (wire.into if backend == "embedded" else 0.0)
    return predict(coefficients, dataset_size, ranks) + travelling / NETWORK


class Counted(NamedTuple):
    """Measurements of an epoch of a job.

    Attributes:
        seconds: from the slowest rank's last push to its next index.
        into: bytes that the busiest host received, by who counted them.
        out: bytes that it sent.
    """

    seconds: float
    into: float
    out: float


def measure(options: Options) -> Result:
    """Measure a grid of jobs, fit, test on a held-out job, and extrapolate; a short run only counts bytes."""
    if options.short:
        with ExitStack() as open_now:
            backends = {"embedded": "memory:", "Redis": open_now.enter_context(redis_server()).url}
            job = open_now.enter_context(Job(2))
            found = {
                backend: {(200_000, 2): epoch_of(job, backend, url, 200_000, 2, 2)}
                for backend, url in backends.items()
            }
        return Result([bytes_table(found)], list(bytes_ratios(found)))
    with ExitStack() as open_now:
        backends = {
            "embedded": "memory:",
            "Redis": open_now.enter_context(redis_server()).url,
            "Ray": open_now.enter_context(ray_cluster()),
        }
        job = open_now.enter_context(Job(max(RANKS)))
        points = [(size, ranks) for size in SIZES for ranks in RANKS]
        found = {
            backend: {point: epoch_of(job, backend, url, *point, 3) for point in [*points, HELD_OUT]}
            for backend, url in backends.items()
        }
    fits = {
        backend: fit([(*point, theirs[point].seconds) for point in points])
        for backend, theirs in found.items()
    }
    return Result(
        [bytes_table(found), seconds_table(found, fits), cluster_table(fits)],
        [*bytes_ratios(found), *fit_ratios(found, fits)],
    )


def epoch_of(job: Job, backend: str, url: str, dataset_size: int, ranks: int, rounds: int) -> Counted:
    """Return medians over some epochs of one job."""
    run = f"cluster-{next(_runs)}"
    every = job.run(train_epochs, ranks, backend, url, run, dataset_size, rounds)
    if backend != "embedded":
        remove_run(url, run)
    seconds = median(max(of_ranks) for of_ranks in zip(*(theirs[0] for theirs in every), strict=True))
    into, out = np.median(every[0][1], axis=0)
    return Counted(seconds, float(into), float(out))


def train_epochs(
    rank: int, world_size: int, backend: str, url: str, run: str, dataset_size: int, rounds: int
) -> tuple[list[float], list[tuple[int, int]]]:
    """Return, for each epoch, the seconds to the next one and the bytes that this process counts."""
    scores = np.random.default_rng(rank).lognormal(size=FRAME).astype(np.float32)
    seconds, counted = [], []
    with (
        connect(url, run, dataset_size, PRUNING, planner="server") as store,
        counter(backend, url, run, rank) as bytes_after,
    ):
        shard = store.plan(0, rank, world_size)
        before = bytes_after(0)
        meet()
        for epoch in range(rounds + 1):  # in the first one all compiles
            for start in range(0, len(shard.indices), FRAME):
                batch = shard.indices[start : start + FRAME]
                store.push(batch, scores[: len(batch)], epoch)
            time.sleep(PAUSE)
            meet()
            ended = time.perf_counter()
            store.push(batch[:256], scores[: len(batch[:256])], epoch)
            shard = store.plan(epoch + 1, rank, world_size)
            int(shard.indices[0])
            seconds.append(time.perf_counter() - ended)
            now = bytes_after(epoch + 1)
            counted.append((now[0] - before[0], now[1] - before[1]))
            before = now
            meet()
    return seconds[1:], counted[1:]


@contextmanager
def counter(backend: str, url: str, run: str, rank: int) -> Iterator[Callable[[int], tuple[int, int]]]:
    """Return a counter of the bytes into and out of the busiest host.

    It counts until an epoch is planned and, in Redis, its snapshot is written. Only rank 0 counts. Nothing
    counts Ray's bytes.
    """
    if rank != 0 or backend == "Ray":
        yield lambda epoch: (0, 0)
    elif backend == "embedded":
        yield lambda epoch: tcp_bytes()[::-1]
    else:
        import redis

        from sadp_dist.store.backends.redis.state import Keys, Meta

        with redis.Redis.from_url(url) as client:

            def bytes_after(epoch: int) -> tuple[int, int]:
                while (meta := Meta.unpack(client.get(Keys(run).meta))) is None or meta.epoch != epoch:
                    time.sleep(PAUSE)
                stats = client.info("stats")
                return stats["total_net_input_bytes"], stats["total_net_output_bytes"]

            yield bytes_after


Found = dict[str, dict[tuple[int, int], Counted]]


def arrays_of(backend: str, point: tuple[int, int]) -> tuple[float, float]:
    """Return the bytes of the arrays that enter and leave the busiest host in an epoch."""
    size, ranks = point
    wire = WIRES[backend](size, KEPT * size, ranks)
    return wire.into + wire.planner_into, wire.out + wire.planner_out


def bytes_table(found: Found) -> Table:
    """Return a table of counted bytes and those of the arrays."""
    rows = []
    for backend in ("embedded", "Redis"):
        for point, counted in found[backend].items():
            into, out = arrays_of(backend, point)
            rows.append(
                [
                    backend,
                    *point,
                    counted.into / 1e6,
                    counted.into / into,
                    counted.out / 1e6,
                    counted.out / out,
                ]
            )
    columns = ["store", "N", "ranks", "received, MB", "/ size of arrays", "sent, MB", "/ size of arrays"]
    note = (
        "Received and sent by the host of the store. For the embedded store, Linux counts the connections "
        "of rank 0, including the benchmark's barriers. Redis counts all its clients: ranks, planner and "
        "this benchmark. Bytes beyond the arrays are headers, queries and replies. Ray on one node keeps "
        "arrays in shared memory, so its bytes cannot be counted."
    )
    return Table(f"Bytes transferred in an epoch, subset of {KEPT} N", columns, rows, note)


def bytes_ratios(found: Found) -> Iterator[Ratio]:
    """Return the ratios of the largest job, where constant costs matter least."""
    for backend in ("embedded", "Redis"):
        point = max(found[backend])
        into, out = arrays_of(backend, point)
        counted = found[backend][point]
        ratio = (counted.into + counted.out) / (into + out)
        yield Ratio(f"{backend}: bytes transferred / size of arrays", ratio, "lower", goal=1.1, slack=1.1)


def seconds_table(found: Found, fits: dict[str, NDArray[np.float64]]) -> Table:
    """Return a table of measured and fitted seconds."""
    rows = []
    for backend, theirs in found.items():
        for point, counted in theirs.items():
            fitted = predict(fits[backend], *point)
            used = "check" if point == HELD_OUT else "fit"
            rows.append(
                [backend, *point, 1e3 * counted.seconds, 1e3 * fitted, fitted / counted.seconds, used]
            )
    said = "; ".join(
        f"{backend} {1e3 * constant:.3g} ms + {1e9 * examples:.3g} ns N + {1e3 * ranks:.3g} ms ranks"
        for backend, (constant, examples, ranks) in fits.items()
    )
    note = f"Models: {said}. They have the least squares of relative errors, with coefficients of at least 0."
    columns = ["store", "N", "ranks", "measured, ms", "model, ms", "model / measured", "used for"]
    return Table("Time between two epochs on this machine, measured and modelled", columns, rows, note)


def fit_ratios(found: Found, fits: dict[str, NDArray[np.float64]]) -> Iterator[Ratio]:
    """Return the error of the model on the held-out job."""
    for backend, theirs in found.items():
        error = predict(fits[backend], *HELD_OUT) / theirs[HELD_OUT].seconds
        name = f"{backend}: job of the check, larger / smaller of model and measured"
        yield Ratio(name, max(error, 1 / error), "lower", goal=1.5)


def cluster_table(fits: dict[str, NDArray[np.float64]]) -> Table:
    """Return a table of the model at sizes beyond this machine."""
    rows = []
    for size, ranks in CLUSTERS:
        row: list[float | int] = [size, ranks]
        for backend, coefficients in fits.items():
            wire = WIRES[backend](size, KEPT * size, ranks)
            row.append((wire.into + wire.out) / 1e9)
            if backend == "Redis":
                row.append((wire.planner_into + wire.planner_out) / 1e9)
            row.append(on_cluster(backend, coefficients, size, ranks))
        rows.append(row)
    columns = ["N", "ranks"]
    for backend in fits:
        planner = ["Redis planner, GB"] if backend == "Redis" else []
        columns += [f"{backend}, GB", *planner, f"{backend}, s"]
    note = (
        "Computed, not measured. GB: data of an epoch between the ranks and the host of the store (rank 0, "
        "Redis or the Ray actor). s: time between two epochs, which is the model's plus the time to transfer "
        f"the data at {NETWORK * 8e-9:g} Gbit/s, an assumption. The model's time per rank comes from "
        "processes that share this machine's cores, and its time per example includes copies over loopback. "
        "Memory is not considered: scores and plans take 28 bytes per example."
    )
    return Table(f"Extrapolation to clusters, subset of {KEPT} N", columns, rows, note)
