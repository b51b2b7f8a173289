"""What this Python, this machine and the places that a run needs are like, and how to mend what is wrong.

`CHECKS` is also where the documents' page of troubles comes from: each says what it means and how to mend it.
"""

# Each registers its checks, in this order.
from sadp_dist.doctor import packages  # noqa: F401

# isort: split
from sadp_dist.doctor import machine, ray, redis, runs  # noqa: F401

# isort: split
from sadp_dist.doctor.check import CHECKS, Check, Finding, State
from sadp_dist.doctor.examination import examine
from sadp_dist.doctor.subject import Subject

__all__ = ["CHECKS", "Check", "Finding", "State", "Subject", "examine"]
