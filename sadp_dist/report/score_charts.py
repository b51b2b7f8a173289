"""Charts of the distribution of a run's scores, by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sadp_dist.report.chart import Chart, ChartTable, colour, legend_below, plain_logarithmic
from sadp_dist.report.run_groups import Group
from sadp_dist.store.engine.history import EpochRecord

LOW, MIDDLE, HIGH = ("0.05", "0.25"), "0.5", ("0.75", "0.95")


def score_charts(groups: Sequence[Group]) -> list[Chart]:
    """Return charts of the quantiles and distributions, for the first run of each group with scores."""
    charts = []
    for group in groups:
        run = next(iter(group.with_history), None)
        if run is None or not run.needs_scores:
            continue
        scored = [record for record in run.history if sum(record.score_histogram["counts"])]
        if scored:
            name = group.label if len(group.runs) == 1 else f"{group.label}, {run.name}"
            charts += [_quantiles(group, name, scored), _distributions(group, name, scored)]
    return charts


def _quantiles(group: Group, name: str, records: Sequence[EpochRecord]) -> Chart:
    epochs = np.array([record.epoch + 1 for record in records])
    bottom = min(record.score_histogram["edges"][0] for record in records)  # a logarithmic axis has no 0
    values = {
        share: np.maximum([(record.score_quantiles or {})[share] for record in records], bottom)
        for share in (*LOW, MIDDLE, *HIGH)
    }

    def draw(axes: Axes) -> None:
        ink = colour(group.number)
        for low, high, alpha, label in (
            (LOW[0], HIGH[1], 0.15, "5 % to 95 %"),
            (LOW[1], HIGH[0], 0.3, "25 % to 75 %"),
        ):
            axes.fill_between(
                epochs, values[low], values[high], color=ink, alpha=alpha, linewidth=0, label=label
            )
        axes.plot(epochs, values[MIDDLE], color=ink, label="median")
        axes.set(xlabel="epoch", ylabel="score", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain_logarithmic(axes.yaxis)
        legend_below(axes)

    rows = [
        [str(epoch), *(f"{values[share][row]:.4g}" for share in values)] for row, epoch in enumerate(epochs)
    ]
    first, last = values[MIDDLE][0], values[MIDDLE][-1]
    return Chart(
        name=f"score-quantiles-{group.number + 1}",
        title=f"Scores by epoch: {name}",
        alt=f"Score quantiles by epoch of {name}. The median changes from {first:.3g} in epoch {epochs[0]} "
        f"to {last:.3g} in epoch {epochs[-1]}.",
        draw=draw,
        table=ChartTable(["epoch", *(f"{float(share):.0%}" for share in values)], rows),
        note="The scores from which each epoch was planned. Scores of 0 are shown as the smallest above 0.",
    )


def _distributions(group: Group, name: str, records: Sequence[EpochRecord]) -> Chart:
    places = sorted({0, len(records) // 2, len(records) - 1})
    shown = [records[place] for place in places]

    def draw(axes: Axes) -> None:
        for record, alpha in zip(shown, np.linspace(0.35, 1, max(len(shown), 1)), strict=False):
            edges, density = _density(record)
            axes.stairs(
                density,
                edges,
                color=colour(group.number),
                alpha=alpha,
                linewidth=1.8,
                label=f"epoch {record.epoch + 1}",
            )
        axes.set(xlabel="score", ylabel="share per factor of 10", xscale="log")
        plain_logarithmic(axes.xaxis)
        legend_below(axes)

    rows, modes = [], []
    for record in shown:
        edges, density = _density(record)
        counts, total = record.score_histogram["counts"], record.score_histogram["zeros"]
        total += sum(counts)
        rows += [
            [str(record.epoch + 1), f"{low:.3g} to {high:.3g}", f"{count:,}", f"{count / total:.2%}"]
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
        top = int(np.argmax(density))
        modes.append(f"epoch {record.epoch + 1} mostly between {edges[top]:.2g} and {edges[top + 1]:.2g}")
    zeros = ", ".join(f"{record.score_histogram['zeros']:,} in epoch {record.epoch + 1}" for record in shown)
    return Chart(
        name=f"score-distribution-{group.number + 1}",
        title=f"Distribution of the scores: {name}",
        alt=f"Histograms of the scores of {name}, on a logarithmic axis: {'; '.join(modes)}.",
        draw=draw,
        table=ChartTable(["epoch", "score", "examples", "share"], rows),
        note=f"Darker lines are later epochs. The axis cannot show scores of 0: {zeros}.",
    )


def _density(record: EpochRecord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bin edges, and the share of the scores per factor of 10 in each bin."""
    edges = np.array(record.score_histogram["edges"], np.float64)
    counts = np.array(record.score_histogram["counts"], np.float64)
    if edges[0] == edges[-1]:  # all scores are equal: give the bin a width
        edges = edges * np.array([0.97, 1.03])
    total = counts.sum() + record.score_histogram["zeros"]
    return edges, counts / total / np.diff(np.log10(edges))
