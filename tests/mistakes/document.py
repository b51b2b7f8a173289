"""Read and write the tables of mistakes in docs/troubleshooting.md, each between two marks.

python -m tests.mistakes.document writes them anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.mistakes.case import Mistake, Table, outcome
from tests.mistakes.data import DATA
from tests.mistakes.loop import LOOP
from tests.mistakes.pruner import PRUNER
from tests.mistakes.resume import RESUME
from tests.mistakes.scores import SCORES
from tests.mistakes.trainer import TRAINER

DOCUMENT = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
TABLES: dict[str, Table] = {
    "pruner": PRUNER,
    "trainer": TRAINER,
    "loop": LOOP,
    "scores": SCORES,
    "data": DATA,
    "resume": RESUME,
}
END = "<!-- end of the table -->\n"
HEAD = ("mistake", "what happens", "why")


def begin(name: str) -> str:
    return f"<!-- the table of mistakes: {name} -->\n"


def read_table(name: str) -> list[str]:
    """Return the lines of a table in the document."""
    return DOCUMENT.read_text(encoding="utf-8").split(begin(name))[1].split(END)[0].splitlines()[2:]


def row(mistake: Mistake, folder: Path) -> str:
    """Make a mistake, and return its line of the table."""
    return f"| {mistake.what} | {outcome(mistake, folder)} | {mistake.why} |"


def write_tables() -> None:
    """Replace the tables in the document.

    Raises:
        AssertionError: nothing is said of a mistake.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        before, rest = text.split(begin(name))
        lines = [f"| {' | '.join(HEAD)} |", "| --- | --- | --- |"]
        for mistake in table:
            with tempfile.TemporaryDirectory() as folder:
                lines.append(row(mistake, Path(folder)))
        text = f"{before}{begin(name)}{chr(10).join(lines)}\n{END}{rest.split(END, 1)[1]}"
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_tables()
