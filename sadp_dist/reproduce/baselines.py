"""Tables III and V: SADP compared with other pruning methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from sadp_dist.report.chart import Chart
from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import percent
from sadp_dist.report.run_groups import Spread
from sadp_dist.reproduce.experiment import Experiment, accuracies, register, summary_of
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import BASELINES, FULL, LABELS, pruned
from sadp_dist.reproduce.published import FULL as PAPER_FULL
from sadp_dist.reproduce.published import TABLE_III, TABLE_V, Published
from sadp_dist.reproduce.result import Cell, Result, ResultTable

NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "cifar10-dvs": "CIFAR10-DVS", "hardvs": "HAR-DVS"}
OF_PART = "5,000 images of CIFAR-10, 2,000 for testing"

Known = Mapping[str, Mapping[tuple[str, float], Published]]
"""Published accuracies by dataset, method and ratio."""
Cells = Mapping[tuple[str, float], Cell]
"""Results by method and ratio."""
Ratios = Mapping[str, Sequence[float]]
"""The pruning ratios of each dataset."""

TOLERANCE = 0.03
"""A method may train on this share of full data's examples more than 1 - r and still count as pruning r."""
MISSED = "*"


class Comparison(Experiment):
    """A table of methods and ratios, with a run for every method, ratio and seed, and for full data.

    Attributes:
        methods: the rows.
        published: the paper's accuracies by dataset, method and ratio.
    """

    methods: Sequence[str]
    published: ClassVar[Known]

    def ratios(self, setting: ExperimentSetting) -> Ratios:
        """Return the ratios to compare."""
        raise NotImplementedError

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [
            job
            for seed in setting.seeds
            for dataset in self.ratios(setting)
            for job in self._grid(setting, dataset, seed).values()
        ]

    def _grid(self, setting: ExperimentSetting, dataset: str, seed: int) -> dict[tuple[str, float], Job]:
        """Return the runs of a seed on a dataset, by method and ratio."""
        jobs = {("full", 0.0): setting.job(dataset, FULL, seed)}
        for method in self.methods:
            for ratio in self.ratios(setting)[dataset]:
                jobs[method, ratio] = setting.job(dataset, pruned(method, ratio), seed)
        return jobs

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        tables: list[ResultTable] = []
        charts: list[Chart] = []
        for dataset, ratios in self.ratios(setting).items():
            grids = [self._grid(setting, dataset, seed) for seed in setting.seeds]
            full = [grid["full", 0.0] for grid in grids]
            full_cell = Cell(accuracies(full, diverged), PAPER_FULL[dataset])
            shares = {
                (method, ratio): Cell(
                    shares_of([grid[method, ratio] for grid in grids], full, diverged), digits=3
                )
                for method in self.methods
                for ratio in ratios
            }
            known = self.published.get(dataset) or {}
            cells = {
                key: Cell(
                    accuracies([grid[key] for grid in grids], diverged),
                    known.get(key),
                    mark=MISSED if missed(grids[0][key], share) else "",
                )
                for key, share in shares.items()
            }
            tables += self._tables(setting, dataset, full_cell, cells, shares)
            chart = self._chart(setting, dataset, full_cell, cells)
            charts += [] if chart is None else [chart]
        return Result(tables, charts)

    def _tables(
        self, setting: ExperimentSetting, dataset: str, full: Cell, accuracy: Cells, shares: Cells
    ) -> list[ResultTable]:
        ratios = self.ratios(setting)[dataset]
        where = OF_PART if setting.small else NAMES[dataset]
        note = setting.over_seeds
        if any(cell.mark for cell in accuracy.values()):
            note += f" {MISSED}: trained on more examples than the ratio allows (see below)."
        if setting.small:
            note += " The paper's values are for ResNet18 on all of CIFAR-10 after 200 epochs."
        rows: dict[str, list[Cell | None]] = {LABELS["full"]: [full, *[None] * len(ratios)]}
        rows |= {LABELS[method]: [None, *(accuracy[method, r] for r in ratios)] for method in self.methods}
        columns = [f"{ratio:.0%}" for ratio in (0, *ratios)]
        title = f"{self.title}: test accuracy in %, {where}"
        of_examples = f"{self.title}: examples trained on, relative to full data, with tracking, {where}"
        trained = {LABELS[method]: [shares[method, r] for r in ratios] for method in self.methods}
        return [
            ResultTable(setting.titled(title), "pruning ratio", columns, rows, note),
            ResultTable(setting.titled(of_examples), "pruning ratio", columns[1:], trained),
        ]

    def _chart(self, setting: ExperimentSetting, dataset: str, full: Cell, accuracy: Cells) -> Chart | None:
        """Return the chart of accuracy against the ratio, without the runs that missed it."""
        ratios = self.ratios(setting)[dataset]
        lines = []
        for number, method in enumerate(self.methods):
            cells = [accuracy[method, ratio] for ratio in ratios]
            shown = [
                [np.nan if value is None or cell.mark else value / 100 for value in cell.measured]
                for cell in cells
            ]
            by_seed = [list(row) for row in zip(*shown, strict=True)]
            lines.append(Line(LABELS[method], number, np.array(ratios), Spread.over(by_seed)))
        return line_chart(
            f"{self.file_name}-{dataset}",
            setting.titled(f"{self.title}: test accuracy against the pruning ratio, {NAMES[dataset]}"),
            lines,
            ("pruning ratio", "test accuracy"),
            (percent, percent),
            level=(full.mean / 100, LABELS["full"]),
        )

    @property
    def file_name(self) -> str:
        """Prefix of the files of its charts."""
        return self.title.lower().replace(" ", "-")


def shares_of(
    jobs: Sequence[Job], full: Sequence[Job], diverged: Mapping[str, str], what: str = "total_examples"
) -> list[float | None]:
    """Return the examples of each run, or its seconds, relative to full data with the same seed."""
    return [
        None
        if job.name in diverged or of_full.name in diverged
        else summary_of(job)[what] / summary_of(of_full)[what]
        for job, of_full in zip(jobs, full, strict=True)
    ]


def missed(job: Job, share: Cell) -> bool:
    """Return whether a run trained on more examples than its ratio allows, without tracking."""
    pruning = job.config.pruning
    return share.mean - pruning.tracked_epochs / pruning.epochs > 1 - pruning.ratio + TOLERANCE


@register("table3")
class TableIII(Comparison):
    """All methods; at small scale also 90 %, which the paper has in Table V."""

    title = "Table III"
    methods = BASELINES
    published: ClassVar[Known] = {**TABLE_III, "cifar10": {**TABLE_III["cifar10"], **TABLE_V}}

    def ratios(self, setting: ExperimentSetting) -> Ratios:
        if setting.small:
            return {"cifar10": (0.3, 0.5, 0.7, 0.9)}
        return {dataset: sorted({ratio for _, ratio in grid}) for dataset, grid in TABLE_III.items()}


@register("table5")
class TableV(Comparison):
    """Methods at high pruning ratios."""

    title = "Table V"
    methods = ("random", "forgetting", "el2n", "infobatch", "sadp")
    published: ClassVar[Known] = {"cifar10": TABLE_V}

    def ratios(self, setting: ExperimentSetting) -> Ratios:
        return {"cifar10": (0.8, 0.9)}
