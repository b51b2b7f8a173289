"""The table of faults in docs/reliability.md is what these tests saw.

`pytest tests/faults --write-docs` writes it; every other run compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.case import Case, Outcome
from tests.faults.document import read_rows, write_rows

AT_ONCE = 6  # they wait most of the time


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-docs", action="store_true", help="write the table of docs/reliability.md anew")


@pytest.fixture(scope="session")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, Future[Outcome]]]:
    """What the modules' `observe(case, folder)` return for their cases, of which several run at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {}
        for item in request.session.items:
            if "running" in getattr(item, "fixturenames", ()):
                case = item.callspec.params["case"]
                futures[case] = pool.submit(item.module.observe, case, tmp_path_factory.mktemp("case"))
        yield futures
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def check_row(request: pytest.FixtureRequest) -> Iterator[Callable[[Case, Outcome], None]]:
    """Say what was seen of a case; it has to be what the document says, or becomes that."""
    if not request.config.getoption("--write-docs", False):
        rows = read_rows()

        def compare(case: Case, seen: Outcome) -> None:
            assert rows.get((case.fault, case.when, case.store)) == seen.happens

        yield compare
    else:
        table: dict[Case, Outcome] = {}
        yield table.__setitem__
        write_rows(table)
