"""Results are kept as JSON, drawn, and written as one page and on the terminal."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from benchmarks.page import draw, markdown, ratios_table, show, text_of, write_page
from benchmarks.result import Plot, Ratio, Result, Table, machine

PLOT = Plot(
    "by-size", "Push", "N", "ms", {"ours": [(1e3, 1.5), (1e6, 20.0)], "a peer": [(1e3, 9.0)]}, log_x=True
)
RESULT = Result(
    tables=[
        Table(
            "Push", ["store", "scores/s", "n"], [["a|b", 1234.5, 3], ["[c]", 0.01234, None]], "On loopback."
        )
    ],
    ratios=[
        Ratio("numpy / ours", 11.0, "higher", goal=10),
        Ratio("copy / ours", 9.0, "lower", goal=8, slack=2),
        Ratio("no goal", 1.0, "lower"),
    ],
    plots=[PLOT],
    machine={"processor": "a slow one", "cores": 2},
)


def test_a_result_comes_back_from_json_as_it_was():
    written = json.dumps(RESULT.to_dict())
    back = Result.from_dict(json.loads(written))
    assert json.dumps(back.to_dict()) == written
    assert (back.ratios, back.tables) == (RESULT.ratios, RESULT.tables)


def test_the_machine_is_named_with_its_versions():
    facts = machine()
    assert facts["cores"] >= 1
    assert {"processor", "load", "python", "torch", "numpy", "numba", "spikingjelly"} <= set(facts)
    assert json.loads(json.dumps(facts)) == facts


def test_goals_are_said_to_be_met_or_missed():
    assert [list(row) for row in ratios_table(RESULT.ratios).rows] == [
        ["numpy / ours", 11.0, ">= 10", "met"],
        ["copy / ours", 9.0, "<= 8", "missed"],
        ["no goal", 1.0, "", ""],
    ]


def test_a_table_is_markdown_in_which_bars_are_escaped():
    assert markdown(RESULT.tables[0]).splitlines() == [
        "**Push**",
        "",
        "| store | scores/s | n |",
        "| --- | ---: | ---: |",
        r"| a\|b | 1,234 | 3 |",
        "| [c] | 0.0123 |  |",
        "",
        "On loopback.",
    ]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("as it is", "as it is"),
        (12_345, "12,345"),
        (12_345.6, "12,346"),
        (0.00123, "0.00123"),
        (0.0, "0"),
    ],
)
def test_cells_are_short(cell, text):
    assert text_of(cell) == text


def test_the_terminal_shows_what_the_page_does():
    console = Console(file=io.StringIO(), width=120)
    show(RESULT, console)
    shown = console.file.getvalue()
    for text in ("Push", "a|b", "[c]", "1,234", "On loopback.", "numpy / ours", "met", "missed"):
        assert text in shown


def test_the_page_has_the_results_that_are_kept_in_order_with_their_plots(tmp_path):
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name in ("second", "first"):
        (folder / f"{name}.json").write_text(json.dumps(RESULT.to_dict()))
    page = tmp_path / "benchmarks.md"
    titles = {"first": "The first.\n\nIt measures pushes.", "missing": "Not run yet", "second": "The second"}
    write_page(page, folder, titles)
    text = page.read_text()
    assert text.index("## The first\n\nIt measures pushes.\n") < text.index("## The second\n")
    assert "Not run yet" not in text
    assert "    python -m benchmarks first\n" in text
    assert "processor a slow one, cores 2" in text
    assert "![Push](benchmarks/by-size.svg)" in text
    assert (folder / "by-size.svg").read_text().startswith("<?xml")
    write_page(page, folder, titles)
    assert page.read_text() == text


def test_a_drawing_is_the_same_for_the_same_points_and_another_for_others():
    again = Result.from_dict(json.loads(json.dumps(RESULT.to_dict()))).plots[0]
    assert draw(PLOT) == draw(again)
    assert draw(PLOT) != draw(
        Plot("by-size", "Push", "N", "ms", {"ours": [(1e3, 1.5), (1e6, 21.0)]}, log_x=True)
    )
