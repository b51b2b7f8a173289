"""Weighted draws without replacement: a sampler's epoch of up to 100 million examples.

The time of `DistributedWeightedSampler.set_epoch` for one of 8 ranks, a tenth of the examples in the subset,
beside that of drawing as many with torch's `WeightedRandomSampler` for one rank. Above 2^24 examples torch
refuses. Lognormal weights.
"""

from __future__ import annotations

from itertools import count
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from benchmarks.result import Cell, Options, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.loading import DistributedWeightedSampler

SIZES = (1_281_167, 10_000_000, 100_000_000)
SHARE = 0.1
LIMIT = 2**24
"""The most categories of torch.multinomial."""


def measure(options: Options) -> Result:
    """Measure the draws of one epoch."""
    rows: list[list[Cell]] = []
    ratios: list[Ratio] = []
    for N in SIZES[:1] if options.short else SIZES:
        weights = np.exp(np.random.default_rng(0).standard_normal(N, dtype=np.float32))
        started = perf_counter()
        sampler = DistributedWeightedSampler(weights, int(SHARE * N), 128, rank=0, world_size=8)
        made = perf_counter() - started
        epochs = count()
        actions = {"ours": lambda sampler=sampler, epochs=epochs: sampler.set_epoch(next(epochs))}
        if N <= LIMIT:
            theirs = WeightedRandomSampler(torch.from_numpy(weights), int(SHARE * N), replacement=False)
            actions["torch"] = lambda theirs=theirs: list(theirs)
        seconds = in_turns(actions, turns=3 if options.short else 5)
        beside = median(seconds["torch"]) if "torch" in seconds else None
        rows.append([N, made, median(seconds["ours"]), beside])
        if "torch" in seconds:
            name = f"set_epoch / WeightedRandomSampler, N = {N:,}"
            ratios.append(Ratio(name, median_ratio(seconds["ours"], seconds["torch"]), "lower"))
        else:
            ratios.append(Ratio(f"set_epoch, seconds, N = {N:,}", median(seconds["ours"]), "lower", goal=1))
    columns = ["N", "making the sampler, s", "set_epoch, s", "WeightedRandomSampler, s"]
    return Result([Table("An epoch's weighted draw, a tenth of the examples", columns, rows)], ratios)
