"""Results: tables with the measured and the published values, and charts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sadp_dist.report.chart import Chart
from sadp_dist.reproduce.published import Published


@dataclass(frozen=True)
class Cell:
    """A value measured with several seeds, and the published value.

    Attributes:
        measured: value of each seed; None if the run diverged.
        paper: published value; None if there is none.
        digits: number of decimals.
        mark: footnote mark, explained in the table's note.
        error_of_mean: show the standard error of the mean in the place of the standard deviation.
    """

    measured: Sequence[float | None]
    paper: Published | None = None
    digits: int = 2
    mark: str = ""
    error_of_mean: bool = False

    @property
    def finite(self) -> list[float]:
        return [value for value in self.measured if value is not None]

    @property
    def mean(self) -> float:
        """Mean over the seeds that have a value; NaN if none has."""
        return statistics.mean(self.finite) if self.finite else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation (n - 1) over them; NaN for fewer than two."""
        return statistics.stdev(self.finite) if len(self.finite) > 1 else math.nan

    def __str__(self) -> str:
        lost = len(self.measured) - len(self.finite)
        if not self.finite:
            return "diverged" if lost else ""
        text = f"{self.mean:.{self.digits}f}"
        if len(self.finite) > 1:
            spread = self.sd / math.sqrt(len(self.finite)) if self.error_of_mean else self.sd
            text += f" ± {spread:.{self.digits}f}"
        return f"{text}{self.mark} ({lost} diverged)" if lost else f"{text}{self.mark}"


@dataclass(frozen=True)
class ResultTable:
    """A table of results. A column with published values is followed by a column "paper".

    Attributes:
        title: one line.
        corner: heading of the column of row names.
        columns: headings, with units.
        rows: cells by row name, one per column; None is an empty cell.
        note: text below the table.
    """

    title: str
    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell | None]]
    note: str = ""

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows as text."""
        published = [
            any(cells[place] is not None and cells[place].paper is not None for cells in self.rows.values())  # type: ignore[union-attr]
            for place in range(len(self.columns))
        ]
        headings = [self.corner]
        for column, has in zip(self.columns, published, strict=True):
            headings += [column, "paper"] if has else [column]
        rows = []
        for name, cells in self.rows.items():
            row = [name]
            for cell, has in zip(cells, published, strict=True):
                row.append("" if cell is None else str(cell))
                if has:
                    row.append("" if cell is None or cell.paper is None else str(cell.paper))
            rows.append(row)
        return headings, rows

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON with the value of every seed and the published value."""
        rows = {
            name: [
                None
                if cell is None
                else {
                    "measured": list(cell.measured),
                    "paper": None if cell.paper is None else [cell.paper.mean, cell.paper.sd],
                }
                for cell in cells
            ]
            for name, cells in self.rows.items()
        }
        return {"title": self.title, "columns": list(self.columns), "rows": rows, "note": self.note}


@dataclass(frozen=True)
class Result:
    """The tables and charts of an experiment."""

    tables: Sequence[ResultTable] = ()
    charts: Sequence[Chart] = field(default_factory=tuple)
