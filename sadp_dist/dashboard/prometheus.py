"""The metrics of runs in Prometheus's text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sadp_dist.dashboard.open_runs import NoSuchRun, Runs
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store import RunView, StoreStats

GAUGES = {
    "epoch": ("epoch", "Epoch of the latest plan, from 0"),
    "ratio": ("ratio", "Pruning ratio of the latest plan"),
    "subset_size": ("subset_size", "Subset size S of the latest plan"),
    "dataset_size": ("dataset_size", "Dataset size N"),
    "seen_examples": ("seen", "Examples that have a score"),
    "largest_weight": ("largest_weight", "Largest weight of the drawn examples"),
    "effective_sample_size": ("effective_sample_size", "Effective sample size of the drawn examples"),
    "weight_exponent": ("weight_exponent", "Power of the weights"),
    "placed_share": ("placed_share", "Share of the subset that scores place"),
    "noise_ratio": ("noise_ratio", "Noise of a step beside one drawn uniformly"),
    "rank_correlation": ("rank_correlation", "Rank correlation of the examples' scores with those before"),
    "gamma": ("gamma", "Smoothing that raises the smallest probability to the floor"),
    "capped_examples": ("capped", "Examples with probability 1"),
    "staleness_mean_epochs": ("staleness_mean", "Mean number of epochs since a seen example was scored"),
    "memory_bytes": ("memory_bytes", "Host memory of scores, labels and plans"),
}
"""Metric name without sadp_dist_ -> attribute of `StoreStats`, help."""
COUNTERS = {
    "pushes": ("pushes", "Pushes stored"),
    "pushed_scores": ("pushed_scores", "Scores in the stored pushes"),
    "rejected_pushes": ("rejected_pushes", "Pushes rejected"),
    "received_bytes": ("bytes_received", "Bytes of scores received from other processes"),
}


class RunMetrics(NamedTuple):
    """The metrics of a run.

    Attributes:
        stats: the current statistics.
        training: the latest training metrics.
    """

    stats: StoreStats
    training: dict[str, float]


async def metrics(runs: Runs) -> bytes:
    """Return the metrics of all runs that answer, in Prometheus's text format."""
    try:
        found = await runs.list()
    except (StoreUnavailable, UsageError):
        return _text(False, {})
    names = [run["run"] for run in found]
    answers = await asyncio.gather(*(_figures_of(runs, name) for name in names))
    return _text(True, {name: figures for name, figures in zip(names, answers, strict=True) if figures})


async def _figures_of(runs: Runs, run: str) -> RunMetrics | None:
    try:
        return await runs.ask(run, "figures", _figures)
    except (StoreUnavailable, UsageError, NoSuchRun):
        return None


def _figures(store: RunView) -> RunMetrics:
    measured = [record.training for record in store.history() if record.training]
    return RunMetrics(store.stats(), measured[-1] if measured else {})


def _text(up: bool, figures: dict[str, RunMetrics]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collector(up, figures))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, up: bool, figures: dict[str, RunMetrics]) -> None:
        self._up, self._figures = up, figures

    def describe(self) -> list[Metric]:
        """Return nothing: the registry has no other collector to conflict with."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("sadp_dist_up", "Whether the store can be reached", value=self._up)
        for name, (attribute, text) in GAUGES.items():
            yield self._by_run(GaugeMetricFamily(f"sadp_dist_{name}", text, labels=["run"]), attribute)
        for name, (attribute, text) in COUNTERS.items():
            yield self._by_run(CounterMetricFamily(f"sadp_dist_{name}", text, labels=["run"]), attribute)
        yield from self._others()

    def _by_run(
        self, family: GaugeMetricFamily | CounterMetricFamily, attribute: str
    ) -> GaugeMetricFamily | CounterMetricFamily:
        for run, figures in self._figures.items():
            value = getattr(figures.stats, attribute)
            if value is not None:
                family.add_metric([run], value)
        return family

    def _others(self) -> Iterator[Metric]:
        bad = CounterMetricFamily(
            "sadp_dist_bad_frames", "Frames of scores that could not be read", labels=["run", "reason"]
        )
        waiting = GaugeMetricFamily(
            "sadp_dist_waiting_ranks", "Ranks that the next plan waits for", labels=["run"]
        )
        ranks = GaugeMetricFamily("sadp_dist_ranks", "Ranks of the current job", labels=["run"])
        planner = GaugeMetricFamily("sadp_dist_planner_up", "Whether a planner is running", labels=["run"])
        score = GaugeMetricFamily("sadp_dist_score", "Quantiles of the scores", labels=["run", "quantile"])
        training = GaugeMetricFamily(
            "sadp_dist_training", "Training metrics of the latest epoch", labels=["run", "figure"]
        )
        for run, (stats, measured) in self._figures.items():
            for reason, count in stats.bad_frames.items():
                bad.add_metric([run, reason], count)
            waiting.add_metric([run], len(stats.waiting_ranks))
            ranks.add_metric([run], len(stats.rank_epochs))
            planner.add_metric([run], stats.planner is not None)
            for quantile, value in (stats.score_quantiles or {}).items():
                score.add_metric([run, quantile], value)
            for figure, value in measured.items():
                training.add_metric([run, figure], value)
        yield from (bad, waiting, ranks, planner, score, training)
