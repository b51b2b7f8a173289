"""Read and write the table of faults, between two marks in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.faults.case import Case, Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- the table of faults -->\n", "<!-- end of the table -->\n"
HEAD = ("fault", "when", "store", "what happens", "longest wait")


def read_rows() -> dict[tuple[str, str, str], str]:
    """Return what happens for each (fault, when, store). The longest wait is not compared."""
    table = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
    return {(fault, when, store): happens for fault, when, store, happens, _ in rows}


def write_rows(table: Mapping[Case, Outcome]) -> None:
    """Replace the table in the document."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    rows = [
        (case.fault, case.when, case.store, seen.happens, _rounded(seen.longest))
        for case, seen in table.items()
    ]
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    DOCUMENT.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")


def _rounded(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
