"""Print the seconds of planning epochs with their 8 shards, one number per epoch, as a JSON list.

    python -P benchmarks/planned_epochs.py N EPOCHS

`benchmarks.planning` runs this file with the package of two revisions. It uses only public names that both
have.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import numpy as np

from sadp_dist import PruningConfig, connect

RANKS = 8


def main() -> None:
    """Plan one epoch as a warm-up, then time the others."""
    N, epochs = map(int, sys.argv[1:])
    pruning = PruningConfig(ratio=0.35, epochs=100, min_probability=0.25, seed=1)
    seconds = []
    with connect("memory:", "planning", N, pruning) as store:
        store.push(np.arange(N), np.random.default_rng(0).lognormal(size=N).astype(np.float32), epoch=0)
        for epoch in range(1, epochs + 2):
            start = perf_counter()
            for rank in range(RANKS):
                store.plan(epoch, rank, RANKS)
            seconds.append(perf_counter() - start)
    print(json.dumps(seconds[1:]))


if __name__ == "__main__":
    main()
