"""Charts of the plans: variance of the gradient estimate and weights by epoch."""

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
    "V = 1/N² Σ G² (1 − p) / p, divided by V with p = S / N. V is the variance of the gradient estimate with "
    "independent draws if each score G is the norm of its example's gradient; G is an upper bound of it. "
    "Below 1, the scores select better than uniform sampling. Systematic draws have a lower variance. With a "
    "floor β of S / N, all p are equal and the ratio is 1. The values are estimated from the histogram and "
    "the quantiles of G that the store keeps for each epoch, with an error of a few percent."
)
NOISE = (
    "Σ G² / p over Σ G² / (S / N), with the scores G that the epoch gave and the probabilities p that it was "
    "planned with: the noise of a step beside that of a step on uniformly drawn examples, for unbiased "
    "weights. Unlike the relative variance it is measured, so that it shows how old or noisy scores mislead. "
    "At 1, choosing by score gains nothing."
)
EFFECTIVE = (
    "(Σ w)² / Σ w² of the weights w (Kish), divided by the number of drawn examples. For values that are "
    "independent of the weights, a weighted mean over the subset has the variance of a plain mean over this "
    "share of the subset."
)
WEIGHTS = (
    "The largest weight of the drawn examples. SADP's weight is w = S / (N p), at most S / (N β) with the "
    "floor β. InfoBatch and others use 1 / p, with mean N / S over the subset. Many methods use no weights."
)


def plan_charts(groups: Sequence[Group]) -> list[Chart]:
    """Return the charts of variance, measured noise, effective sample size and largest weight by epoch."""
    pruned = [group for group in groups if group.first.prunes]
    with_scores = [group for group in pruned if group.first.method == "sadp"]
    charts = [
        line_chart(
            "variance",
            "Variance of the gradient estimate, relative to uniform sampling",
            [_over_epochs(group, _relative_variance) for group in with_scores],
            ("epoch", "relative variance"),
            (whole, short),
            note=VARIANCE + _of_newest(with_scores),
            level=(1.0, "uniform sampling"),
        ),
        line_chart(
            "noise-ratio",
            "Measured noise of a step, relative to uniform sampling",
            [
                _over_epochs(group, _noise_ratio, behind=1)
                for group in pruned
                if any(record.noise_ratio is not None for run in group.runs for record in run.history)
            ],
            ("epoch", "noise ratio η"),
            (whole, short),
            note=NOISE,
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
    """Return the exact relative variance from the scores of the newest checkpoint; None without scores."""
    if run.method != "sadp" or run.store is None or run.dataset_size is None:
        return None
    subset_size = run.store.stats().subset_size
    if subset_size is None:
        return None
    scores = run.store.scores(np.arange(run.dataset_size))
    return relative_variance(scores, subset_size, run.config["pruning"])


def _of_newest(groups: Sequence[Group]) -> str:
    """Return a sentence with the exact values of the newest checkpoints."""
    said = []
    for group in groups:
        values = [value for run in group.runs if (value := newest_variance(run)) is not None]
        if values:
            said.append(f"{group.label}: {np.mean(values):.3g}")
    return f" Exact values from all scores of the newest checkpoint: {'; '.join(said)}." if said else ""


def _relative_variance(run: RunRecord, record: EpochRecord) -> float | None:
    assert run.dataset_size is not None
    return relative_variance_of(record, run.dataset_size, run.config["pruning"])


def _effective_share(run: RunRecord, record: EpochRecord) -> float | None:
    return record.effective_sample_size / record.drawn if record.drawn else None


def _noise_ratio(run: RunRecord, record: EpochRecord) -> float | None:
    return record.noise_ratio


def _over_epochs(
    group: Group, figure: Callable[[RunRecord, EpochRecord], float | None], behind: int = 0
) -> Line:
    """Return a figure over the epochs; with `behind`, a record's figure is of so many epochs before."""
    rows = []
    for run in group.with_history:
        row = [np.nan] * (run.history[-1].epoch + 1 - behind)
        for record in run.history[behind:]:
            value = figure(run, record)
            row[record.epoch - behind] = np.nan if value is None else value
        rows.append(row)
    y = Spread.over(rows)
    return Line(group.label, group.number, np.arange(1.0, len(y.mean) + 1), y)
