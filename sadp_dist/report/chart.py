"""A chart with its text alternative, its numbers and a function that draws it."""

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

SIZE = (4.8, 3.3)  # inches; the text is readable on a phone, at a width of 360 pixels
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The palette of Okabe and Ito: distinguishable with colour blindness, on white and on black."""
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

INK, GRID = "#1f2328", "#d0d7de"
ON_BLACK = {INK: "#e6edf3", GRID: "#3d444d"}
"""Colours of text and lines on a dark page."""


@dataclass(frozen=True)
class ChartTable:
    """The numbers of a chart as text.

    Attributes:
        columns: headings.
        rows: cells.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        name: of its file, without the suffix.
        title: of the chart.
        alt: text alternative.
        draw: draws it.
        table: its numbers.
        note: the caption, for example a formula.
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
        """The chart as SVG with a transparent background; deterministic."""
        file = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.figure().savefig(file, format="svg", transparent=True, metadata={"Date": None})
        return file.getvalue()

    @property
    def svg_on_black(self) -> str:
        """The same SVG with the colours for a dark page."""
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
    "text.parse_math": False,  # a run's name may contain $
}
"""Matplotlib's settings."""


def look(number: int) -> dict[str, Any]:
    """Return the colour and dashes of a group by its number."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def legend_below(axes: Axes) -> None:
    """Draw a legend below the axes if there are several entries."""
    _, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure = axes.get_figure(root=True)
        assert figure is not None
        columns = max(1, min(len(labels), 66 // (max(map(len, labels)) + 7)))
        figure.legend(loc="outside lower center", ncols=columns)


def plain_logarithmic(axis: Axis) -> None:
    """Set ticks with plain numbers; if there are few powers of 10, also at 2 and 5 times them."""
    low, high = axis.get_view_interval()
    few = low > 0 and math.log10(high / low) < 2
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
