"""One rank with a weighted sampler; `test_weighted_sampler.py` starts it.

    python weighted_rank.py DIFFERS     with RANK and WORLD_SIZE in the environment

Rank 1 has another DIFFERS than rank 0. Rank 0 prints the error, or how many examples both have.
"""

import sys

import numpy as np
import torch.distributed as dist

from sadp_dist.errors import UsageError
from sadp_dist.loading import DistributedWeightedSampler

OTHER = {"weights": np.arange(1.0, 61)[::-1].copy(), "num_samples": 21, "batch_size": 5, "seed": 1}


def examples(differs):
    arguments = {"weights": np.arange(1.0, 61), "num_samples": 20, "batch_size": 4, "seed": 0}
    if differs in OTHER and dist.get_rank() == 1:
        arguments[differs] = OTHER[differs]
    sampler = DistributedWeightedSampler(**arguments)
    sampler.set_epoch(0)
    return list(sampler.indices)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    try:
        mine = examples(sys.argv[1])
        said = None
    except UsageError as error:
        mine, said = [], str(error)
    every = [None, None]
    dist.all_gather_object(every, (mine, said))
    if dist.get_rank() == 0:
        assert every[0][1] == every[1][1]
        print(said or len({*every[0][0], *every[1][0]}))
    dist.destroy_process_group()
