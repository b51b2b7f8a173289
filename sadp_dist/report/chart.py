"""A figure of the report: what it shows, what to read instead of it, and how it is drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

SIZE = (4.8, 3.3)  # inches: its text can still be read where a phone makes it 360 pixels wide
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which people who see colours otherwise can tell apart, on white and on black."""
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

INK, GRID = "#1f2328", "#d0d7de"
ON_BLACK = {INK: "#e6edf3", GRID: "#3d444d"}
"""What text and lines are drawn in where the page is dark."""


@dataclass(frozen=True)
class ChartTable:
    """Numbers behind a figure.

    Attributes:
        columns: headings.
        rows: cells as they are shown.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """One figure.

    Attributes:
        name: of its file, without the ending.
        title: what is on its axes.
        alt: what it shows, for who does not see it.
        draw: draws it.
        table: its numbers.
        note: what a reader has to know, such as a formula; the caption.
    """

    name: str
    title: str
    alt: str
    draw: Callable[[Axes], None]
    table: ChartTable
    note: str = ""

    def figure(self) -> Figure:
        figure = Figure(figsize=SIZE, layout="constrained")
        self.draw(figure.subplots())
        return figure

    @cached_property
    def svg(self) -> str:
        """The drawing without a background, the same each time."""
        file = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.figure().savefig(file, format="svg", transparent=True, metadata={"Date": None})
        return file.getvalue()

    @property
    def svg_on_black(self) -> str:
        """The same drawing in lighter ink."""
        svg = self.svg
        for ink, lighter in ON_BLACK.items():
            svg = svg.replace(ink, lighter)
        return svg

    def save_png(self, folder: Path) -> Path:
        path = folder / f"{self.name}.png"
        with matplotlib.rc_context(STYLE):
            figure = self.figure()
            figure.suptitle(self.title, fontsize="medium")
            figure.savefig(path, dpi=200)
        return path


STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "svg.hashsalt": "sadp_dist",
    "text.parse_math": False,  # a run may be called $a
}
"""Matplotlib's settings."""


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of the group of this number."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def legend_below(axes: Axes) -> None:
    """A legend under the axes, where it hides no curve, as wide as fits; none for a single entry."""
    _, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure = axes.get_figure(root=True)
        assert figure is not None
        columns = max(1, min(len(labels), 66 // (max(map(len, labels)) + 7)))
        figure.legend(loc="outside lower center", ncols=columns)


def plain_logarithmic(axis: Axis) -> None:
    """Ticks with plain numbers, and some between the powers of 10 where there are few of those."""
    low, high = axis.get_view_interval()
    few = low > 0 and math.log10(high / low) < 2
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
