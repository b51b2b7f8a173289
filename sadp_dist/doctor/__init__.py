"""Checks of this Python, this machine, a store and a run's configuration, with a fix for every problem.

The documentation's troubleshooting page is generated from `CHECKS`.
"""

# Each module registers its checks, packages first.
from sadp_dist.doctor.packages import PACKAGES

# isort: split
from sadp_dist.doctor import configuration, machine, ray, redis  # noqa: F401
from sadp_dist.doctor.check import CHECKS, Check, Finding, Status
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.doctor.runner import run_checks

__all__ = ["CHECKS", "PACKAGES", "Check", "DoctorOptions", "Finding", "Status", "run_checks"]
