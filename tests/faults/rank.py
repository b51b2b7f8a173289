"""One rank of a run whose store breaks under it; `job.py` starts it, as a process.

The rank goes through the epochs as training does: asks for its shard, then pushes a score for each of its
examples, in many small pushes with pauses between them. Into a folder it writes

    FOLDER/RANK.err             what goes to stderr
    FOLDER/RANK.progress        a line for each point it has come to, such as "ask 2" or "push 1 25"
    FOLDER/RANK.hold            while this file names a point, the rank waits there
    FOLDER/RANK-EPOCH.npz       its shard: indices, weights
    FOLDER/RANK.npz             at the end: what the store answers, see `answers`
    FOLDER/RANK.json            at the end: the longest time that a call to the store took, in seconds
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.store import Store, StoreUnavailable
from tests.network import enter

N = 20_000
EPOCHS = 4
PRUNING = PruningConfig(ratio=0.5, max_ratio=0.7, epochs=EPOCHS, min_probability=0.1, seed=1)
PUSHES = 25  # an epoch
PAUSE = 0.02  # seconds after each


def scores_of(epoch: int) -> NDArray[np.float32]:
    """(N,) what an example scores in an epoch, whoever trains on it."""
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


def figures_of(epoch: int) -> dict[str, float]:
    """What rank 0 records of an epoch."""
    return {"loss": 1 / (1 + epoch), "test_accuracy": epoch / EPOCHS}


def answers(store: Store) -> dict[str, Any]:
    """What the store has of every example, and of every epoch."""
    changed, changes = store.top(N, by="change")
    history = np.array([json.dumps(record.to_dict()) for record in store.history()])
    return {"scores": store.scores(np.arange(N)), "changed": changed, "changes": changes, "history": history}


class Progress:
    """Tells where this rank is, and waits there while it is told to."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._lines = (folder / f"{rank}.progress").open("w", buffering=1, encoding="utf-8")
        self._hold = folder / f"{rank}.hold"

    def reach(self, point: str) -> None:
        self._lines.write(point + "\n")
        while self._is_held_at(point):
            time.sleep(0.01)

    def _is_held_at(self, point: str) -> bool:
        try:
            return self._hold.read_text(encoding="utf-8") == point
        except FileNotFoundError:
            return False


def train(store: Store, folder: Path, rank: int, world_size: int, progress: Progress) -> float:
    """All epochs; returns the longest time that a call to the store took, in seconds."""
    longest = 0.0
    sampler = PruningSampler(store, batch_size=64, rank=rank, world_size=world_size)
    for epoch in range(EPOCHS):
        progress.reach(f"ask {epoch}")
        started = time.monotonic()
        sampler.set_epoch(epoch)
        longest = max(longest, time.monotonic() - started)
        shard = sampler.shard
        np.savez(folder / f"{rank}-{epoch}.npz", indices=shard.indices, weights=shard.weights)
        scores = scores_of(epoch)
        mine = shard.indices[shard.weights > 0]
        for number, some in enumerate(np.array_split(mine, PUSHES)):
            progress.reach(f"push {epoch} {number}")
            started = time.monotonic()
            store.push(some, scores[some], epoch=epoch)
            longest = max(longest, time.monotonic() - started)
            time.sleep(PAUSE)
        if rank == 0:
            store.record(epoch, figures_of(epoch))
    progress.reach("flush")
    started = time.monotonic()
    store.flush()
    return max(longest, time.monotonic() - started)


def run(
    url: str,
    folder: Path,
    rank: int,
    world_size: int,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    network: str | None,
) -> None:
    """What the process does.

    Args:
        url, options: of `sadp_dist.connect`.
        folder: to write to.
        rank, world_size: as in torch.distributed, which is not there.
        environment: to be added to this process's.
        network: the network namespace to be in, None for this machine's.
    """
    os.dup2(os.open(folder / f"{rank}.err", os.O_WRONLY), sys.stderr.fileno())
    if network is not None:
        enter(network)
    os.environ.update(environment, RANK=str(rank))
    try:
        with connect(url, "job", N, PRUNING, **options) as store:
            progress = Progress(folder, rank)
            meet("connected", folder, world_size, progress)  # a slow start is no fault
            longest = train(store, folder, rank, world_size, progress)
            meet("flushed", folder, world_size, progress)
            np.savez(folder / f"{rank}.npz", **answers(store))
            (folder / f"{rank}.json").write_text(json.dumps({"longest": longest}))
    except (StoreUnavailable, UsageError) as error:
        sys.exit(str(error))


def meet(point: str, folder: Path, world_size: int, progress: Progress) -> None:
    """Come to a point, and go on when all ranks have."""
    progress.reach(point)
    files = [folder / f"{rank}.progress" for rank in range(world_size)]
    while not all(file.exists() and f"{point}\n" in file.read_text(encoding="utf-8") for file in files):
        time.sleep(0.01)
