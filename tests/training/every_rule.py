"""Every pruning rule as a whole run, one after the other in this process; `test_every_rule.py` starts it.

python every_rule.py CONFIG      with RANK and the like in the environment
"""

import sys

from sadp_dist.selection import RULES
from sadp_dist.training import load_config, train
from sadp_dist.training.processes import join_job

if __name__ == "__main__":
    with join_job():
        for method in RULES:
            train(load_config(sys.argv[1], [f"name={method}", f"pruning.method={method}"]), "overwrite")
