"""One rank of an elastic torchrun job: goes on from the newest checkpoint, with however many ranks there are.

    torchrun ... elastic_rank.py URL FOLDER

It does what the trainer does, in that order, but for the network: a batch of the shard, its scores, every few
batches a checkpoint. Each start of the group is an attempt with a folder of its own:

    FOLDER/attempt-NUMBER/RANK      a line of JSON for the start: world size, epoch, batch;
                                    and one for each batch: epoch, batch, the examples of weight above 0
    FOLDER/hold-RANK                while this file names an epoch, the rank waits before it asks for it
    FOLDER/scores.npz               at the end: the score of every example
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from sadp_dist import PruningConfig, connect
from sadp_dist.loading import PruningSampler
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.processes import Process

N = 6_000
EPOCHS = 5
PRUNING = PruningConfig(ratio=0.5, max_ratio=0.7, epochs=EPOCHS, min_probability=0.1, seed=3)
BATCH = 96  # over all ranks, whether 1, 2 or 3
STEPS_A_CHECKPOINT = 7
PAUSE = 0.03  # seconds a batch


def scores_of(epoch: int) -> np.ndarray:
    """(N,) what an example scores in an epoch, whoever trains on it."""
    return np.random.default_rng(epoch).lognormal(size=N).astype(np.float32)


def new_attempt(folder: Path, process: Process) -> Path:
    number = [len(list(folder.glob("attempt-*")))]
    dist.broadcast_object_list(number, src=0)
    attempt = folder / f"attempt-{number[0]}"
    attempt.mkdir(exist_ok=True)
    return attempt


def train(url: str, folder: Path, process: Process) -> None:
    checkpoints = Checkpoints(folder)
    store = connect(url, "elastic", N, PRUNING)
    found = checkpoints.load_latest(process, store, PRUNING)
    if found is None:
        store.reset()
    state = {"epoch": 0, "batch": 0, "sampler": {}} if found is None else found[0]
    start = state["batch"]
    hold = folder / f"hold-{process.rank}"
    sampler = PruningSampler(store, BATCH // process.world_size)
    sampler.load_state_dict(state["sampler"])
    with (new_attempt(folder, process) / str(process.rank)).open("w", buffering=1) as records:
        records.write(json.dumps([process.world_size, state["epoch"], start]) + "\n")
        for epoch in range(state["epoch"], EPOCHS):
            while is_held_at(epoch, hold):
                time.sleep(0.01)
            sampler.set_epoch(epoch)
            scores = scores_of(epoch)
            for batch, examples in enumerate(torch.tensor(sampler.indices).split(sampler.batch_size), start):
                present = sampler.weights(examples) > 0
                store.push(examples, scores[examples], epoch=epoch, valid=present)
                process.sum(torch.ones(1))  # as the gradients meet: no rank is ahead of the others
                records.write(json.dumps([epoch, batch, examples[present].tolist()]) + "\n")
                time.sleep(PAUSE)
                if (batch + 1) % STEPS_A_CHECKPOINT == 0:
                    checkpoints.save(process, store, epoch, batch + 1, {"sampler": sampler.state_dict()})
            start = 0
            checkpoints.save(process, store, epoch + 1, 0, {"sampler": sampler.state_dict()})
    store.flush()
    if process.is_first:
        np.savez(folder / "scores.npz", scores=store.scores(np.arange(N)))
    store.close()


def is_held_at(epoch: int, hold: Path) -> bool:
    try:
        return hold.read_text() == str(epoch)
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    train(
        sys.argv[1], Path(sys.argv[2]), Process(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))
    )
    dist.destroy_process_group()
