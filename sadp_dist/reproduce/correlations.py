"""Figures 1(a) and 4: correlation of scores and probabilities with the true gradient norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sadp_dist.report.chart import Chart, ChartTable, colour, legend_below, marker
from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import percent, short
from sadp_dist.report.run_groups import Spread
from sadp_dist.reproduce.experiment import Experiment, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.gradient_probe import Probe
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL, pruned
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.selection import selection_probabilities

EXAMPLES = 1000
SCORES: dict[str, Callable[[Probe], NDArray[np.float64]]] = {
    "loss": Probe.losses,
    "EL2N": Probe.errors,
    "last layer": lambda probe: probe.gradient_scores("last"),
    "last layer, exact": lambda probe: probe.gradient_scores("last", exact=True),
    "all layers": lambda probe: probe.gradient_scores("all"),
}
STORED = "last layer, stored"
"""The scores that plans are made of: measured during training, many of them epochs ago."""
RATIO = 0.5
SADP = pruned("sadp", RATIO)
THRESHOLDS = (0.5, 1.0, 2.0)
"""Firing thresholds of the neurons. A higher threshold gives fewer spikes."""


@register("figure1")
class Figure1(Experiment):
    """Pearson correlation of scores with the true norm, for networks with fewer and fewer spikes."""

    title = "Figure 1(a)"

    def _job(
        self, setting: ExperimentSetting, threshold: float, seed: int, method: Mapping[str, Any] = FULL
    ) -> Job:
        changed = {} if threshold == 1.0 else {"network.neuron.threshold": threshold}
        return setting.job("cifar10", {**method, **changed}, seed)

    def _seeds(self, setting: ExperimentSetting, threshold: float) -> list[int]:
        """Return all seeds if Table III has the runs too, else the first."""
        return list(setting.seeds) if threshold == 1.0 else list(setting.seeds[:1])

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [
            self._job(setting, threshold, seed, method)
            for method in (FULL, SADP)
            for threshold in THRESHOLDS
            for seed in self._seeds(setting, threshold)
        ]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        found: dict[str, list[Cell | None]] = {name: [] for name in (*SCORES, STORED)}
        sparsities, thresholds = [], []
        for threshold in THRESHOLDS:
            jobs = [self._job(setting, threshold, seed) for seed in self._seeds(setting, threshold)]
            probes = [Probe(job, EXAMPLES) for job in jobs if job.name not in diverged]
            if not probes:
                continue
            norms = [probe.norms() for probe in probes]
            for name, score in SCORES.items():
                values = [pearson(score(probe), norm) for probe, norm in zip(probes, norms, strict=True)]
                found[name].append(Cell(values, digits=3))
            pruned_jobs = [
                self._job(setting, threshold, seed, SADP) for seed in self._seeds(setting, threshold)
            ]
            found[STORED].append(_of_stored([job for job in pruned_jobs if job.name not in diverged]))
            sparsities.append(float(np.mean([probe.sparsity() for probe in probes])))
            thresholds.append(threshold)
            for probe in probes:
                probe.close()
        title = setting.titled("Figure 1(a): Pearson correlation of scores with the true gradient norm")
        note = (
            f"At most {EXAMPLES:,} training examples. Networks trained on the full data, in evaluation mode. "
            "The true norm covers the weights of all layers and takes one backward pass per example. Seeds "
            f"{', '.join(map(str, setting.seeds))} at ϑ = 1, else the first seed. {STORED}: in the store at "
            f"the end of a run of SADP at r = {RATIO}, against the norms of that run's network."
        )
        columns = [
            f"ϑ = {threshold:g}: {sparsity:.1%} zeros"
            for threshold, sparsity in zip(thresholds, sparsities, strict=True)
        ]
        lines = [
            Line(name, number, np.array(sparsities), _spread([cell for cell in cells if cell is not None]))
            for number, (name, cells) in enumerate(found.items())
        ]
        chart = line_chart(
            "figure-1a", title, lines, ("zeros among the spikes", "correlation"), (percent, short), note
        )
        return Result([ResultTable(title, "score", columns, found, note)], [] if chart is None else [chart])


@register("figure4")
class Figure4(Experiment):
    """Probabilities from scores, compared with those from the true norms."""

    title = "Figure 4"
    floor = 0.3

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [setting.job("cifar10", SADP, seed) for seed in setting.seeds]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        jobs = [job for job in self.jobs(setting) if job.name not in diverged]
        by_seed = [self._probabilities(job) for job in jobs]
        rows: dict[str, list[Cell | None]] = {}
        for name in (*SCORES, STORED):
            values = [pearson(p[name], p["norm"]) for p in by_seed]
            rows[name] = [Cell(values, digits=3)]
        title = setting.titled("Figure 4: probabilities compared with those from the true gradient norm")
        note = (
            f"r = {RATIO}, β = {self.floor}. At most {EXAMPLES:,} training examples, after SADP's last "
            f"epoch, network in evaluation mode. {STORED}: from the scores in the store at that time. Mean "
            f"and standard deviation over {len(jobs)} seeds."
        )
        table = ResultTable(title, "probabilities from", ["Pearson correlation"], rows, note)
        charts = [self._scatter(title, by_seed[0], note)] if by_seed else []
        return Result([table], charts)

    def _probabilities(self, job: Job) -> dict[str, NDArray[np.float64]]:
        probe = Probe(job, EXAMPLES)
        scores = {name: score(probe) for name, score in SCORES.items()}
        scores |= {STORED: probe.stored_scores(), "norm": probe.norms()}
        probe.close()
        S = (1 - RATIO) * len(probe.indices)
        return {name: selection_probabilities(score, S, self.floor) for name, score in scores.items()}

    def _scatter(self, title: str, p: dict[str, NDArray[np.float64]], note: str) -> Chart:
        shown = ("last layer", "loss", STORED)

        def draw(axes: Axes) -> None:
            for number, name in enumerate(shown):
                axes.plot(
                    p["norm"],
                    p[name],
                    linestyle="none",
                    marker=marker(number),
                    markersize=2.5,
                    alpha=0.5,
                    color=colour(number),
                    label=f"{name}, correlation {pearson(p[name], p['norm']):.3f}",
                )
            axes.plot([0, 1], [0, 1], color="#8b949e", linewidth=1)
            axes.set(xlabel="p from the true norm", ylabel="p from the score")
            legend_below(axes)

        rows = [[name, f"{pearson(p[name], p['norm']):.3f}"] for name in shown]
        return Chart(
            "figure-4",
            title,
            f"Scatter plot of probabilities: {'; '.join(': '.join(row) for row in rows)}.",
            draw,
            ChartTable(["probabilities from", "correlation, first seed"], rows),
            note,
        )


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Pearson's correlation of two arrays (n,)."""
    return float(np.corrcoef(a, b)[0, 1])


def _of_stored(jobs: list[Job]) -> Cell:
    """Return the correlation of each run's stored scores with the norms of its network."""
    values = []
    for job in jobs:
        probe = Probe(job, EXAMPLES)
        values.append(pearson(probe.stored_scores(), probe.norms()))
        probe.close()
    return Cell(values, digits=3)


def _spread(cells: list[Cell]) -> Spread:
    return Spread(np.array([cell.mean for cell in cells]), np.array([cell.sd for cell in cells]))
