"""The table of docs/reliability.md is that of the faults which are tested."""

import pytest

from tests.faults import (
    test_elastic,
    test_elastic_training,
    test_network,
    test_planner,
    test_ray,
    test_redis,
    test_run_directory,
)
from tests.faults.document import read_rows

MODULES = (
    *(test_elastic, test_elastic_training, test_network, test_planner, test_ray, test_redis),
    test_run_directory,
)


def test_every_fault_that_is_tested_has_its_row_and_there_is_no_other(request):
    if request.config.getoption("--write-docs", False):
        pytest.skip("the table is being written")
    cases = [case for module in MODULES for case in module.CASES]
    assert list(read_rows()) == [(case.fault, case.when, case.store) for case in cases]
