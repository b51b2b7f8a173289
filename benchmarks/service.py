"""Stores in other processes at ImageNet's size, each figure beside a plain one of the same run.

    python -m benchmarks.service [--short] [--json FILE]

- enqueue: what a push of 256 takes of the training thread, beside copying the same two arrays.
- throughput: scores a second from the first push until they are applied, two epochs' worth at a time, beside
  what one would write without this project: a Redis hash with a field an example; Redis strings and a Redis
  stream of the same batches; calls of a Ray actor with the same arrays. That all are applied, the next plan
  shows; what a plan takes by itself is measured beside it and taken off.
- turnover: from an epoch's last push to the next epoch's first index on two ranks, beside what InfoBatch does
  there.
- questions: a training step while another process asks for `stats` and `top` every second, beside one left
  alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import redis
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console

from benchmarks.servers import ray_cluster, redis_server
from benchmarks.store import PRUNING, N, lognormal_scores, median_seconds, table_of, turnovers
from sadp_dist import connect
from sadp_dist.store import Store

BATCH_SIZES = (256, 4_096, 65_536)
Row = dict[str, Any]
epochs = count(1)  # of all throughput measurements: a later one replaces every score


def new_store(url: str) -> Store:
    return connect(url, "benchmark", N, PRUNING)


def batches_of(size: int, number: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """That many batches of scores of examples in random order."""
    generator = np.random.default_rng(seed)
    return [
        (generator.integers(0, N, size), generator.lognormal(size=size).astype(np.float32))
        for _ in range(number)
    ]


# Enqueue


def measure_enqueue(home: str, url: str, pushes: int) -> Row:
    """At the pace of training: a pause of a millisecond between pushes."""
    batches = batches_of(256, pushes)
    ours, copies, kept = [], [], []
    epoch = next(epochs)
    with new_store(url) as store:
        for indices, scores in batches:
            start = time.perf_counter()
            store.push(indices, scores, epoch)
            pushed = time.perf_counter()
            kept.append((indices.copy(), scores.copy()))
            copied = time.perf_counter()
            ours.append(1e6 * (pushed - start))
            copies.append(1e6 * (copied - pushed))
            time.sleep(0.001)
        store.flush()
    plain = statistics.median(copies)
    median = statistics.median(ours)
    return {
        "home": home,
        "push_of_256_us": median,
        "p99_us": float(np.percentile(ours, 99)),
        "copy_us": plain,
        "ratio": median / plain,
    }


# Throughput


def ours_per_second(url: str, size: int, scores: int) -> float:
    with new_store(url) as store:
        batches = batches_of(size, 2 * N // size)

        def plan() -> None:
            int(store.plan(next(epochs)).indices[0])

        def push_and_plan() -> None:
            epoch = next(epochs)
            for indices, values in batches:
                store.push(indices, values, epoch)
            plan()

        push_and_plan()
        repeats = max(scores // (2 * N), 3)
        seconds = median_seconds(push_and_plan, repeats) - median_seconds(plan, repeats)
        return size * len(batches) / seconds


def hash_per_second(client: redis.Redis, size: int, scores: int) -> float:
    """HSET of each example by itself, a batch of them in a pipeline."""
    batches = [(i.tolist(), s.tolist()) for i, s in batches_of(size, max(scores // size, 1))]
    start = time.perf_counter()
    for indices, values in batches:
        pipe = client.pipeline(transaction=False)
        for index, value in zip(indices, values, strict=True):
            pipe.hset("scores", index, value)
        pipe.execute()
    return size * len(batches) / (time.perf_counter() - start)


def raw_per_second(write: Callable[[bytes], Any], clear: Callable[[], Any], size: int, scores: int) -> float:
    """The bytes of each batch, uint32 indices and float32 scores, in a command of its own."""
    batches = batches_of(size, scores // size)
    start = time.perf_counter()
    for indices, values in batches:
        write(indices.astype(np.uint32).tobytes() + values.tobytes())
    rate = size * len(batches) / (time.perf_counter() - start)
    clear()
    return rate


def measure_redis(url: str, size: int, scores: int) -> Row:
    with redis.Redis.from_url(url) as client:
        of_hash = hash_per_second(client, min(size, 4_096), scores // 50)
        sets = raw_per_second(
            lambda data: client.set("batch", data), lambda: client.delete("batch"), size, scores
        )
        adds = raw_per_second(
            lambda data: client.xadd("log", {"batch": data}), lambda: client.delete("log"), size, scores
        )
    ours = ours_per_second(url, size, scores)
    return {
        "batch_size": size,
        "scores_per_second": ours,
        "hash_per_second": of_hash,
        "times_hash": ours / of_hash,
        "set_per_second": sets,
        "times_set": ours / sets,
        "xadd_per_second": adds,
        "times_xadd": ours / adds,
    }


def measure_ray(url: str, size: int, scores: int) -> Row:
    import ray

    @ray.remote(num_cpus=0)
    class Actor:
        def take(self, indices: np.ndarray, values: np.ndarray) -> int:
            return len(indices)

    ours = ours_per_second(url, size, scores)
    actor = Actor.remote()
    batches = batches_of(size, scores // size)
    ray.get(actor.take.remote(*batches[0]))
    start = time.perf_counter()
    ray.get([actor.take.remote(indices, values) for indices, values in batches])
    raw = size * len(batches) / (time.perf_counter() - start)
    ray.kill(actor)
    return {"batch_size": size, "scores_per_second": ours, "raw_calls_per_second": raw, "ratio": ours / raw}


# Turnover


def turnover_rank(rank: int, url: str, repeats: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    store = connect(url, "turnover", N, PRUNING)
    store.reset()
    seconds = turnovers(store, rank, 2, repeats)
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps(seconds))
    store.close()
    dist.destroy_process_group()


def measure_turnover(home: str, url: str, repeats: int, infobatch: float) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(turnover_rank, args=(url, repeats, folder), nprocs=2)
        seconds = json.loads(Path(folder, "seconds.json").read_text())
    median = 1e3 * statistics.median(seconds)
    return {
        "home": home,
        "turnover_ms": median,
        "slowest_ms": 1e3 * max(seconds),
        "infobatch_ms": infobatch,
        "ratio": median / infobatch,
    }


def infobatch_ms(repeats: int, keep: float = 0.35, ranks: int = 2) -> float:
    """What InfoBatch (Qin et al., ICLR 2024) does between two epochs, by its program where that is installed.

    Otherwise the same steps, in lists as there: examples below the mean score are kept by chance and weighted
    up, what is kept is shuffled, and every rank takes its part of a common random order.
    """
    scores = torch.from_numpy(lognormal_scores(0))
    try:
        from infobatch.infobatch import DistributedIBSampler, IBSampler, InfoBatch
    except ImportError:

        def first_index() -> int:
            below = (scores < scores.mean()).numpy()
            learned = np.flatnonzero(below)
            lucky = np.random.choice(learned, int(keep * len(learned)), replace=False)
            weights = torch.ones(N)
            weights[lucky] = 1 / keep
            kept = [*np.flatnonzero(~below).tolist(), *lucky]
            np.random.shuffle(kept)
            order = torch.randperm(len(kept)).tolist()[::ranks]
            mine = [kept[position] for position in order]
            return int(mine[0])

    else:
        dataset = InfoBatch(range(N), num_epochs=1000, prune_ratio=1 - keep)
        dataset.scores = scores
        sampler = DistributedIBSampler(IBSampler(dataset), num_replicas=ranks, rank=0)

        def first_index() -> int:
            return int(next(iter(sampler)))

    return 1e3 * median_seconds(first_index, repeats)


# Questions


ASK = """
import sys, time
from sadp_dist.store import attach
with attach(sys.argv[1], "benchmark") as store:
    while True:
        store.stats(), store.top(50)
        print(flush=True)
        time.sleep(1)
"""


def measure_questions(url: str, rounds: int, seconds: float = 5.0) -> Row:
    """Steps of a small network in turns of a few seconds, with somebody who asks and without."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 30 * 30, 10)
    )
    images, batches = torch.randn(256, 3, 32, 32), batches_of(256, 64)
    epoch, steps = next(epochs), {True: [], False: []}
    with new_store(url) as store:
        store.push(np.arange(N), lognormal_scores(0), epoch)
        for turn in range(2 * rounds):
            asked = turn % 2 == 1
            asking = (
                subprocess.Popen([sys.executable, "-c", ASK, url], stdout=subprocess.PIPE) if asked else None
            )
            if asking is not None:
                assert asking.stdout is not None
                asking.stdout.readline()  # it has started, and taken up the run
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                network(images).sum().backward()
                store.push(*batches[len(steps[asked]) % 64], epoch)
                steps[asked].append(1e3 * (time.perf_counter() - start))
            if asking is not None:
                asking.kill()
                asking.wait()
    medians = {asked: statistics.median(theirs) for asked, theirs in steps.items()}
    means = {asked: statistics.mean(theirs) for asked, theirs in steps.items()}
    return {
        "median_step_ms": medians[False],
        "asked_ms": medians[True],
        "ratio": medians[True] / medians[False],
        "mean_ms": means[False],
        "asked_mean_ms": means[True],
        "ratio_of_means": means[True] / means[False],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="fewer repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)  # leaves the machine's other core to the store, as a GPU would
    repeats, scores, pushes, rounds = (3, 4 * N, 500, 1) if options.short else (11, 20 * N, 5_000, 6)
    figures: dict[str, Any] = {"dataset_size": N, "enqueue": [], "turnover": []}
    plain = infobatch_ms(repeats)
    figures["turnover"].append(measure_turnover("embedded", "memory:", repeats, plain))
    with redis_server() as server:
        figures["enqueue"].append(measure_enqueue("Redis", server.url, pushes))
        figures["redis"] = [measure_redis(server.url, size, scores) for size in BATCH_SIZES]
        figures["turnover"].append(measure_turnover("Redis", server.url, repeats, plain))
        figures["questions"] = measure_questions(server.url, rounds)
    with ray_cluster() as url:
        figures["enqueue"].append(measure_enqueue("Ray", url, pushes))
        figures["ray"] = [measure_ray(url, size, scores) for size in BATCH_SIZES]
        figures["turnover"].append(measure_turnover("Ray", url, repeats, plain))
    console = Console()
    titles = {
        "enqueue": "enqueue on the training thread",
        "redis": "Redis, from push to applied",
        "ray": "Ray, from push to applied",
        "turnover": f"turnover, N = {N:,}, two ranks",
    }
    for name, title in titles.items():
        console.print(table_of(title, figures[name]))
    console.print(table_of("a step while stats and top are asked for every second", [figures["questions"]]))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
