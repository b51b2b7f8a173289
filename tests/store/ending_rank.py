"""A rank that ends right after its store's last call, while gloo's threads wait for the interpreter.

python ending_rank.py FILE      with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment
"""

import sys

import torch.distributed as dist

from sadp_dist import PruningConfig, connect

dist.init_process_group("gloo")
store = connect("memory:", "job", 100, PruningConfig(ratio=0.4, epochs=5))
store.plan(0)
much = [[] for _ in range(5_000_000)]  # its last look at them takes the interpreter longer
sys.setswitchinterval(0.1)  # than a thread waits for it
store.save(sys.argv[1])
