"""Charts of the training metrics: accuracy against cost, loss, and pruning ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sadp_dist.report.chart import Chart
from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import percent, short, thousands, time_unit, whole
from sadp_dist.report.run_groups import Group, Spread, over_epochs


def accuracy_charts(groups: Sequence[Group]) -> list[Chart]:
    """Return the charts of test accuracy against examples and against time."""
    unit, per_second = time_unit(_largest(groups, "total_seconds"))
    millions = _largest(groups, "total_examples") >= 1e6
    axis, per_example = (
        ("millions of examples trained on", 1e-6) if millions else ("examples trained on", 1.0)
    )
    charts = [
        line_chart(
            "accuracy-examples",
            "Test accuracy against examples trained on",
            [_against(group, "total_examples", per_example) for group in groups],
            (axis, "test accuracy"),
            (short if millions else thousands, percent),
            note="Examples of all epochs and ranks. An example counts once for every epoch that uses it.",
            clip=True,
        ),
        line_chart(
            "accuracy-time",
            "Test accuracy against time",
            [_against(group, "total_seconds", per_second) for group in groups],
            (f"time in {unit}", "test accuracy"),
            (short, percent),
            note="Time of planning and training, without start-up, evaluation and checkpoints.",
            clip=True,
        ),
    ]
    return [chart for chart in charts if chart is not None]


def loss_charts(groups: Sequence[Group]) -> list[Chart]:
    """Return the chart of the training loss by epoch."""
    chart = line_chart(
        "loss",
        "Training loss",
        [_over_epochs(group, "loss") for group in groups],
        ("epoch", "training loss"),
        (whole, short),
        note="With the weights w = S / (N p), it estimates the mean loss over all N examples.",
        log=True,
    )
    return [] if chart is None else [chart]


def pruning_charts(groups: Sequence[Group]) -> list[Chart]:
    """Return the charts of pruning ratio and subset size by epoch."""
    charts = [
        line_chart(
            "ratio",
            "Pruning ratio",
            [_over_epochs(group, "ratio") for group in groups],
            ("epoch", "pruning ratio"),
            (whole, percent),
            note="r_k of Eq. 42. It increases to r_max, and its mean is r.",
        ),
        line_chart(
            "subset",
            "Examples per epoch",
            [_over_epochs(group, "examples") for group in groups],
            ("epoch", "examples"),
            (whole, thousands),
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _largest(groups: Sequence[Group], name: str) -> float:
    return max(float(run.last(name) or 0.0) for group in groups for run in group.runs)


def _against(group: Group, price: str, scale: float) -> Line:
    cost = over_epochs(group.runs, lambda record: record[price] * scale)
    return Line(group.label, group.number, cost.mean, _figure(group, "test_accuracy"))


def _over_epochs(group: Group, name: str) -> Line:
    y = _figure(group, name)
    return Line(group.label, group.number, np.arange(1.0, len(y.mean) + 1), y)


def _figure(group: Group, name: str) -> Spread:
    pick: Callable[[dict[str, Any]], float | None] = lambda record: record.get(name)  # noqa: E731
    return over_epochs(group.runs, pick)
