"""The correctness checks of `sadp-dist selftest --gpu`, each as a test."""

import time

import pytest

from sadp_dist.selftest.part import CORRECTNESS, MACHINE, Skipped
from sadp_dist.selftest.setting import DEVICE, Setting

CHECKS = {check.name: check for part in (MACHINE, CORRECTNESS) for check in part.checks}


@pytest.mark.parametrize("name", CHECKS)
def test_the_check_passes(name, tmp_path):
    setting = Setting("cuda", DEVICE, tmp_path, data=None, ends=time.monotonic() + 120)
    try:
        assert CHECKS[name].run(setting)
    except Skipped as reason:
        pytest.skip(str(reason))
