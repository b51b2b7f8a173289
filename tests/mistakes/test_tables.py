"""Every mistake in the tables of docs/troubleshooting.md is said as the page has it.

`python -m tests.mistakes.document` writes the tables.
"""

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("ffcv")
pytest.importorskip("lightning")
pytest.importorskip("pyarrow")
pytest.importorskip("transformers")

from tests.mistakes.document import TABLES, read_table, row

MISTAKES = [(name, mistake) for name, table in TABLES.items() for mistake in table]


@pytest.mark.parametrize(("table", "mistake"), MISTAKES, ids=[f"{name}: {m.what}" for name, m in MISTAKES])
def test_a_mistake_is_said_as_the_page_has_it(table, mistake, tmp_path):
    assert row(mistake, tmp_path) in read_table(table)


@pytest.mark.parametrize("table", TABLES)
def test_the_page_has_no_other_rows(table):
    assert [line.split(" | ")[0].removeprefix("| ") for line in read_table(table)] == [
        mistake.what for mistake in TABLES[table]
    ]
