"""What this Python, this machine and the places that a run needs are like, and how to mend what is wrong.

`CHECKS` is also where the documents' page of troubles comes from: each says what it means and how to mend it.
"""

# Each module registers its checks, packages first.
from sadp_dist.doctor.packages import PACKAGES

# isort: split
from sadp_dist.doctor import configuration, machine, ray, redis  # noqa: F401
from sadp_dist.doctor.check import CHECKS, Check, Finding, Status
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.doctor.runner import run_checks

__all__ = ["CHECKS", "PACKAGES", "Check", "DoctorOptions", "Finding", "Status", "run_checks"]
