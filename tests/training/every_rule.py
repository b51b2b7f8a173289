"""Every pruning rule as a whole run, one after the other in this process; `test_every_rule.py` starts it.

python every_rule.py CONFIG      with RANK and the like in the environment
"""

import sys

from sadp_dist.selection import RULES
from sadp_dist.training import load_config, train
from sadp_dist.training.processes import join_job

TRACKING = 2
"""Epochs of tracking, for the rules that track."""


def tracks(method: str) -> bool:
    """Whether a rule tracks."""
    options = RULES.options(method)
    return options is not None and "tracking_epochs" in options.model_fields


if __name__ == "__main__":
    with join_job():
        for method in RULES:
            tracking = [f"pruning.tracking_epochs={TRACKING}"] if tracks(method) else []
            overrides = [f"name={method}", f"pruning.method={method}", *tracking]
            train(load_config(sys.argv[1], overrides), "overwrite")
