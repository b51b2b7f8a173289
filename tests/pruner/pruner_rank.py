"""One rank of a job that trains with a `Pruner`; `test_pruner_ranks.py` starts it.

    python pruner_rank.py WAY FILE     with RANK and WORLD_SIZE in the environment

Rank 0 writes the store to FILE and prints the report.
"""

import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from sadp_dist import Pruner
from tests.pruner.test_pruner import DATASET, OPTIONS, losses_of, network


def train(way, file):
    model = network()
    if way == "fsdp2":
        for part in (model[0], model[2], model):
            fully_shard(part)
    else:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=way == "accumulating")
    pruner = Pruner(model, DATASET, **OPTIONS)
    loader = pruner.loader(batch_size=5)
    for _ in pruner.epochs():
        for number, (x, y) in enumerate(loader, 1):
            last = way != "accumulating" or number % 2 == 0
            with pruner.step(), nullcontext() if last else model.no_sync():
                scaler.scale(pruner.mean(losses_of(model, x, y)) / 2).backward()
            if last:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
    pruner.store.save(file)
    if dist.get_rank() == 0:
        print(pruner.report())


if __name__ == "__main__":
    dist.init_process_group("gloo")
    train(*sys.argv[1:])
    dist.destroy_process_group()
