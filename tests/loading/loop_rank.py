"""One rank of a real job whose loop makes a mistake; `test_loops_of_ranks.py` starts it.

    python loop_rank.py SCENARIO      with RANK and WORLD_SIZE in the environment

Prints what went wrong, a line for each message.
"""

import sys
import warnings

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

import sadp_dist
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler

N = 40


def job(batch_size=5):
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=3)
    store = sadp_dist.connect("memory:", run="x", dataset_size=N, pruning=pruning)
    sampler = PruningSampler(store, batch_size)
    loader = DataLoader(TensorDataset(torch.arange(N)), batch_size, sampler=sampler)
    return store, sampler, loader


def train(store, sampler, loader, pushes=lambda rank: True):
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for (index,) in loader:
            sampler.weights(index)
            if pushes(sampler.rank):
                store.push(index, torch.ones(len(index)), epoch=epoch)


def batch_sizes():
    """Ranks with batches of 5 and 6 examples."""
    _, sampler, _ = job(5 + dist.get_rank())
    sampler.set_epoch(0)


def one_rank_pushes_nothing():
    train(*job(), pushes=lambda rank: rank == 0)


def rank_zero_pushes_for_all():
    store, sampler, loader = job()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for (index,) in loader:
            sampler.weights(index)
            batches = [torch.empty_like(index) for _ in range(2)]
            dist.all_gather(batches, index)
            if sampler.rank == 0:
                store.push(torch.cat(batches), torch.ones(10), epoch=epoch)


def split_again():
    from accelerate import Accelerator

    store, sampler, loader = job()
    train(store, sampler, Accelerator(cpu=True).prepare(loader))


def prepared_as_advised():
    from accelerate import Accelerator
    from accelerate.data_loader import prepare_data_loader

    accelerator = Accelerator(cpu=True)
    store, sampler, loader = job()
    device = accelerator.device
    loader = prepare_data_loader(loader, device, num_processes=1, process_index=0, put_on_device=True)
    train(store, sampler, loader)
    if sampler.rank == 0:
        print("trained on", int(store.stats().pushed_scores), flush=True)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            globals()[sys.argv[1]]()
        except UsageError as error:
            print(f"refused on rank {dist.get_rank()}: {error}", flush=True)
    for warning in caught:
        if warning.category is UserWarning and "epoch" in str(warning.message):
            print(f"rank {dist.get_rank()} warns: {warning.message}", flush=True)
    dist.destroy_process_group()
