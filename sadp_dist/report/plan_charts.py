"""What the plans cost: variance of the estimate, and the weights, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sadp_dist.report.chart import Chart
from sadp_dist.report.gradient_variance import relative_variance, relative_variance_of
from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import percent, short, whole
from sadp_dist.report.run_groups import Group, Spread
from sadp_dist.report.run_record import RunRecord
from sadp_dist.store.engine.history import EpochRecord

VARIANCE = (
    "V = 1/N² Σ G² (1 − p) / p, divided by the same with p = S / N: the variance of the estimated gradient "
    "under independent draws, where the scores G are the norms of the examples' gradients, which they bound. "
    "Below 1 the scores choose better than chance; systematic draws scatter less still. A floor β of S / N "
    "makes all p equal, and the ratio 1. Of each epoch the store keeps a histogram and quantiles of G, from "
    "which this is good to some percent."
)
EFFECTIVE = (
    "(Σ w)² / Σ w² of the weights w (Kish), divided by the number drawn: what the weights alone cost. For "
    "values that have nothing to do with them, a mean over the subset scatters like one over so many "
    "examples of equal weight."
)
WEIGHTS = (
    "The largest weight of those drawn. With SADP's w = S / (N p) it is at most S / (N β) with the floor β; "
    "InfoBatch and others weigh by 1 / p, whose mean over the subset is N / S; many do not weigh at all."
)


def plan_charts(groups: Sequence[Group]) -> list[Chart]:
    """Relative variance, effective sample size and largest weight over epochs."""
    pruned = [group for group in groups if group.first.prunes]
    with_scores = [group for group in pruned if group.first.method == "sadp"]
    charts = [
        line_chart(
            "variance",
            "Variance of the gradient's estimate, relative to uniform sampling",
            [_over_epochs(group, _relative_variance) for group in with_scores],
            ("epoch", "variance / uniform sampling's"),
            (whole, short),
            note=VARIANCE + _of_newest(with_scores),
            level=(1.0, "uniform sampling"),
        ),
        line_chart(
            "effective-sample-size",
            "Effective sample size",
            [_over_epochs(group, _effective_share) for group in pruned],
            ("epoch", "effective / drawn"),
            (whole, percent),
            note=EFFECTIVE,
        ),
        line_chart(
            "largest-weight",
            "Largest weight",
            [_over_epochs(group, lambda run, record: record.largest_weight) for group in pruned],
            ("epoch", "largest weight"),
            (whole, short),
            note=WEIGHTS,
        ),
    ]
    return [chart for chart in charts if chart is not None]


def newest_variance(run: RunRecord) -> float | None:
    """The relative variance with all scores of the newest checkpoint, at the S of its latest plan; exact."""
    if run.method != "sadp" or run.store is None or run.dataset_size is None:
        return None
    subset_size = run.store.stats().subset_size
    if subset_size is None:
        return None
    scores = run.store.scores(np.arange(run.dataset_size))
    return relative_variance(scores, subset_size, run.config["pruning"])


def _of_newest(groups: Sequence[Group]) -> str:
    """A sentence with the exact figures of the newest checkpoints."""
    said = []
    for group in groups:
        values = [value for run in group.runs if (value := newest_variance(run)) is not None]
        if values:
            said.append(f"{group.label}: {np.mean(values):.3g}")
    return f" With all scores of the newest checkpoint, exactly: {'; '.join(said)}." if said else ""


def _relative_variance(run: RunRecord, record: EpochRecord) -> float | None:
    assert run.dataset_size is not None
    return relative_variance_of(record, run.dataset_size, run.config["pruning"])


def _effective_share(run: RunRecord, record: EpochRecord) -> float | None:
    return record.effective_sample_size / record.drawn if record.drawn else None


def _over_epochs(group: Group, figure: Callable[[RunRecord, EpochRecord], float | None]) -> Line:
    rows = []
    for run in group.with_history:
        row = [np.nan] * (run.history[-1].epoch + 1)
        for record in run.history:
            value = figure(run, record)
            row[record.epoch] = np.nan if value is None else value
        rows.append(row)
    y = Spread.over(rows)
    return Line(group.label, group.number, np.arange(1.0, len(y.mean) + 1), y)
