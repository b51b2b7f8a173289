"""What other projects do between two epochs, until they have the next index."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch.utils.data import DistributedSampler


def distributed_sampler_seconds(dataset_size: int, ranks: int, repeats: int) -> float:
    """Seconds for torch's DistributedSampler to make its list; it prunes nothing."""
    sampler: DistributedSampler[int] = DistributedSampler(range(dataset_size), num_replicas=ranks, rank=0)  # type: ignore[arg-type]
    return _median(lambda: next(iter(sampler)), repeats)


def infobatch_seconds(dataset_size: int, ranks: int, repeats: int, keep: float = 0.35) -> float:
    """Seconds of InfoBatch's pruning and distributed sampler (Qin et al., ICLR 2024).

    This repeats the steps of its program, with lists. Examples below the mean score are kept at random and
    get larger weights, the kept examples are shuffled, and every rank takes its part of a common random
    order.
    """
    scores = torch.from_numpy(np.random.default_rng(0).lognormal(size=dataset_size).astype(np.float32))

    def first_index() -> int:
        below = (scores < scores.mean()).numpy()
        learned = np.flatnonzero(below)
        lucky = np.random.choice(learned, int(keep * len(learned)), replace=False)
        weights = torch.ones(dataset_size)
        weights[lucky] = 1 / keep
        kept = [*np.flatnonzero(~below).tolist(), *lucky]
        np.random.shuffle(kept)
        order = torch.randperm(len(kept)).tolist()[::ranks]
        mine = [kept[position] for position in order]
        return int(mine[0])

    return _median(first_index, repeats)


def _median(action: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return median(seconds)
