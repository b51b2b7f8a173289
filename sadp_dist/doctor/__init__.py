"""What this Python, this machine and the places that a run needs are like, and how to mend what is wrong.

`CHECKS` is also where the documents' page of troubles comes from: each says what it means and how to mend it.
"""

# Each module registers its checks, packages first.
from sadp_dist.doctor.packages import PACKAGES

# isort: split
from sadp_dist.doctor import machine, ray, redis, runs  # noqa: F401
from sadp_dist.doctor.check import CHECKS, Check, Finding, State
from sadp_dist.doctor.examination import examine
from sadp_dist.doctor.subject import Subject

__all__ = ["CHECKS", "PACKAGES", "Check", "Finding", "State", "Subject", "examine"]
