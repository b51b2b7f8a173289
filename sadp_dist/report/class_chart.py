"""The chart of the share of each class in the latest subset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from sadp_dist.report.chart import Chart, ChartTable, colour, legend_below, look, marker
from sadp_dist.report.number_format import percent
from sadp_dist.report.run_groups import Group, Spread
from sadp_dist.terminal import visible

NAMED = 30  # maximum number of class names that fit on an axis


def class_chart(groups: Sequence[Group], names: Sequence[str] | None) -> Chart | None:
    """Return the chart of keep rates by class; None if no pruning run has labels.

    Args:
        groups: of runs.
        names: of the classes, if they are known.
    """
    rates: list[tuple[Group, Spread]] = []
    for group in groups:
        figures = [run.classes for run in group.runs if run.prunes and run.classes is not None]
        planned = [of_run for of_run in figures if of_run.epoch is not None]
        if planned:
            rates.append((group, Spread.over([_keep_rates(f.drawn, f.examples) for f in planned])))
    if not rates:
        return None
    classes = max(len(spread.mean) for _, spread in rates)
    known = names is not None and len(names) >= classes
    title = [f"class {k}" for k in range(classes)]
    if names is not None and known:
        title = [visible(name) for name in names[:classes]]

    def draw(axes: Axes) -> None:
        for place, (group, spread) in enumerate(rates):
            if classes <= NAMED:
                where = np.arange(len(spread.mean)) + 0.16 * (place - (len(rates) - 1) / 2)
                bars = np.nan_to_num(spread.sd)
                axes.errorbar(
                    where,
                    spread.mean,
                    bars,
                    label=group.label,
                    color=colour(group.number),
                    marker=marker(group.number),
                    linestyle="none",
                )
            else:
                ordered = np.sort(spread.mean)
                axes.plot(np.arange(1, len(ordered) + 1), ordered, **look(group.number), label=group.label)
        if classes <= NAMED:
            ticks = title if known else [str(k) for k in range(classes)]
            steep = max(map(len, ticks)) * classes > 55
            axes.set_xticks(
                range(classes), ticks, rotation=60 if steep else 0, ha="right" if steep else "center"
            )
            axes.set_xlabel("" if known else "class")
        else:
            axes.set_xlabel("classes, by keep rate")
        axes.set(ylabel="keep rate", ylim=(0, None))
        axes.yaxis.set_major_formatter(lambda value, _: percent(value))
        legend_below(axes)

    said = []
    for group, spread in rates:
        low, high = int(np.nanargmin(spread.mean)), int(np.nanargmax(spread.mean))
        said.append(
            f"{group.label}: from {percent(spread.mean[low])} of {title[low]} "
            f"to {percent(spread.mean[high])} of {title[high]}"
        )
    rows = [[title[k], *(_cell(spread, k) for _, spread in rates)] for k in range(classes)]
    return Chart(
        name="classes",
        title="Keep rate of each class in the latest subset",
        alt=f"Keep rate of each class. {'; '.join(said)}.",
        draw=draw,
        table=ChartTable(["class", *(group.label for group, _ in rates)], rows),
        note="Drawn examples of a class divided by all its examples, in the latest planned epoch.",
    )


def _keep_rates(drawn: Sequence[int], examples: Sequence[int]) -> list[float]:
    return [count / of if of else np.nan for count, of in zip(drawn, examples, strict=True)]


def _cell(spread: Spread, k: int) -> str:
    if k >= len(spread.mean) or not np.isfinite(spread.mean[k]):
        return "-"
    deviation = f" ± {percent(spread.sd[k])}" if np.isfinite(spread.sd[k]) else ""
    return percent(spread.mean[k]) + deviation
