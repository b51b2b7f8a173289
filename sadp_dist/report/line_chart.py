"""Line charts: one line per group of runs, with a band of one standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sadp_dist.report.chart import Chart, ChartTable, colour, legend_below, look, marker, plain_logarithmic
from sadp_dist.report.run_groups import Spread

FEW = 40  # maximum number of points with markers


@dataclass(frozen=True)
class Line:
    """The line of a group.

    Attributes:
        label: for the legend.
        number: of the group, for its colour.
        x: (n,).
        y: (n,) over the group's runs; NaN values are not drawn.
    """

    label: str
    number: int
    x: NDArray[np.float64]
    y: Spread

    def points(self) -> list[tuple[float, float, float]]:
        """Return x, y and the standard deviation of y for each finite point."""
        size = min(len(self.x), len(self.y.mean))
        triples = zip(self.x[:size], self.y.mean[:size], self.y.sd[:size], strict=True)
        return [(float(x), float(y), float(sd)) for x, y, sd in triples if np.isfinite(x) and np.isfinite(y)]


def line_chart(
    name: str,
    title: str,
    lines: Sequence[Line],
    axes_names: tuple[str, str],
    show: tuple[Callable[[float], str], Callable[[float], str]],
    note: str = "",
    log: bool = False,
    level: tuple[float, str] | None = None,
    clip: bool = False,
) -> Chart | None:
    """Return a line chart; None if no line has points.

    Args:
        name, title, note: of the chart.
        lines: to draw.
        axes_names: names of x and y, with units.
        show: functions that format x and y.
        log: whether y is logarithmic.
        level: a horizontal reference line, and its name.
        clip: whether to cut off the first fifth of the lines, so that their ends differ visibly. The note
            then says so.
    """
    drawn = [line for line in lines if line.points()]
    if not drawn:
        return None
    show_x, show_y = show
    bottom = _bottom(drawn) if clip else None
    if bottom is not None:
        note += f" The axis begins at {show_y(bottom)}; lower values are in the table."
    integers = all(x == int(x) for line in drawn for x, _, _ in line.points())

    def draw(axes: Axes) -> None:
        for line in drawn:
            x, y, sd = map(np.array, zip(*line.points(), strict=True))
            mark = marker(line.number) if len(x) <= FEW else None
            axes.plot(x, y, **look(line.number), marker=mark, label=line.label)
            if np.isfinite(sd).any():
                axes.fill_between(x, y - sd, y + sd, color=colour(line.number), alpha=0.2, linewidth=0)
        if level is not None:
            axes.axhline(level[0], color="#8b949e", linewidth=1.2, linestyle=(0, (1, 2)), label=level[1])
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
        if log:
            axes.set_yscale("log")
            plain_logarithmic(axes.yaxis)
        else:
            axes.yaxis.set_major_formatter(lambda value, _: show_y(value))
        if bottom is not None:
            top = max(y + np.nan_to_num(sd) for line in drawn for _, y, sd in line.points())
            axes.set_ylim(bottom, top + 0.05 * (top - bottom))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=integers))
        axes.xaxis.set_major_formatter(lambda value, _: show_x(value))
        legend_below(axes)

    ends = []
    for line in drawn:
        (x0, y0, _), (x1, y1, _) = line.points()[0], line.points()[-1]
        ends.append(f"{line.label}: from {show_y(y0)} at {show_x(x0)} to {show_y(y1)} at {show_x(x1)}")
    return Chart(
        name=name,
        title=title,
        alt=f"Line chart: {axes_names[1]} against {axes_names[0]}. {'; '.join(ends)}.",
        draw=draw,
        table=_table(drawn, axes_names, show),
        note=note,
    )


def _bottom(lines: Sequence[Line]) -> float | None:
    """Return an axis limit just below the lines' later values; None if no earlier value is below it."""
    every = [y for line in lines for _, y, _ in line.points()]
    later = [y for line in lines for _, y, _ in line.points()[len(line.points()) // 5 :]]
    bottom = min(later) - 0.1 * (max(every) - min(later))
    return bottom if min(every) < bottom else None


def _table(
    lines: Sequence[Line], axes_names: tuple[str, str], show: tuple[Callable[[float], str], ...]
) -> ChartTable:
    show_x, show_y = show
    rows = []
    for line in lines:
        for x, y, sd in line.points():
            deviation = f" ± {show_y(sd)}" if np.isfinite(sd) else ""
            rows.append([line.label, show_x(x), show_y(y) + deviation])
    return ChartTable(["runs", *axes_names], rows)
