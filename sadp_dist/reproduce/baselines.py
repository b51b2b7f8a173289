"""Tables III and V: SADP beside the other ways to prune, dataset by dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from sadp_dist.report.chart import Chart
from sadp_dist.report.formats import percent
from sadp_dist.report.groups import Spread
from sadp_dist.report.lines import Line, line_chart
from sadp_dist.reproduce.experiment import Experiment, accuracies, register, summary_of
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import BASELINES, FULL, LABELS, pruned
from sadp_dist.reproduce.paper import FULL as PAPER_FULL
from sadp_dist.reproduce.paper import TABLE_III, TABLE_V, Published
from sadp_dist.reproduce.result import Cell, Result, Table
from sadp_dist.reproduce.setting import Setting

NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "cifar10-dvs": "CIFAR10-DVS", "hardvs": "HAR-DVS"}
OF_PART = "5,000 images of CIFAR-10, 2,000 for testing"

Known = Mapping[str, Mapping[tuple[str, float], Published]]
"""Accuracies by dataset, method and ratio."""
Ratios = Mapping[str, Sequence[float]]
"""The pruning ratios of each dataset."""

TOLERANCE = 0.03
"""Of full data's examples: how much more than 1 - r a method may train on, and still be said to prune r."""
MISSED = "*"


class Comparison(Experiment):
    """Methods against ratios, and full data. Every method is trained on every ratio with every seed.

    Attributes:
        methods: the rows.
        published: the paper's accuracies by dataset, method and ratio.
    """

    methods: Sequence[str]
    published: ClassVar[Known]

    def ratios(self, setting: Setting) -> Ratios:
        """What is compared."""
        raise NotImplementedError

    def jobs(self, setting: Setting) -> list[Job]:
        return [
            job
            for seed in setting.seeds
            for dataset in self.ratios(setting)
            for job in self._grid(setting, dataset, seed).values()
        ]

    def _grid(self, setting: Setting, dataset: str, seed: int) -> dict[tuple[str, float], Job]:
        """A seed's runs on a dataset by method and ratio."""
        jobs = {("full", 0.0): setting.job(dataset, FULL, seed)}
        for method in self.methods:
            for ratio in self.ratios(setting)[dataset]:
                jobs[method, ratio] = setting.job(dataset, pruned(method, ratio), seed)
        return jobs

    def result(self, setting: Setting, diverged: Mapping[str, str]) -> Result:
        tables: list[Table] = []
        charts: list[Chart] = []
        for dataset, ratios in self.ratios(setting).items():
            grids = [self._grid(setting, dataset, seed) for seed in setting.seeds]
            tables += self._tables(setting, dataset, ratios, grids, diverged)
            charts += self._charts(setting, dataset, ratios, grids, diverged)
        return Result(tables, charts)

    def _tables(
        self,
        setting: Setting,
        dataset: str,
        ratios: Sequence[float],
        grids: list[dict[tuple[str, float], Job]],
        diverged: Mapping[str, str],
    ) -> list[Table]:
        known = {**(self.published.get(dataset) or {}), ("full", 0.0): PAPER_FULL[dataset]}
        full = Cell(accuracies([grid["full", 0.0] for grid in grids], diverged), known["full", 0.0])
        accuracy: dict[str, list[Cell | None]] = {LABELS["full"]: [full, *[None] * len(ratios)]}
        trained: dict[str, list[Cell | None]] = {}
        of_full = [summary_of(grid["full", 0.0])["total_examples"] for grid in grids]
        for method in self.methods:
            cells, shares = [], []
            for ratio in ratios:
                jobs = [grid[method, ratio] for grid in grids]
                share = Cell(_shares(jobs, of_full, diverged), digits=3)
                pruning = jobs[0].config.pruning
                missed = share.mean - pruning.tracked_epochs / pruning.epochs > 1 - ratio + TOLERANCE
                mark = MISSED if missed else ""
                cells.append(Cell(accuracies(jobs, diverged), known.get((method, ratio)), mark=mark))
                shares.append(share)
            accuracy[LABELS[method]] = [None, *cells]
            trained[LABELS[method]] = list(shares)
        columns = [f"{ratio:.0%}" for ratio in (0, *ratios)]
        where = OF_PART if setting.small else NAMES[dataset]
        seeds = f"Mean and standard deviation over seeds {', '.join(map(str, setting.seeds))}"
        note = f"{seeds}."
        if any(cell is not None and cell.mark for cells in accuracy.values() for cell in cells):
            note += f" {MISSED} trained on more than the ratio leaves, see below: it cannot prune as much."
        if setting.small:
            note += " The paper's figures are those of ResNet18 on all of CIFAR-10 after 200 epochs. "
            note += "What a run was trained on, with tracking and where a method misses a ratio, is below."
        title = f"{self.title}: test accuracy in %, {where}"
        of_examples = f"{self.title}: examples trained on, of full data, tracking included, {where}"
        return [
            Table(setting.titled(title), "pruning ratio", columns, accuracy, note),
            Table(setting.titled(of_examples), "pruning ratio", columns[1:], trained),
        ]

    def _charts(
        self,
        setting: Setting,
        dataset: str,
        ratios: Sequence[float],
        grids: list[dict[tuple[str, float], Job]],
        diverged: Mapping[str, str],
    ) -> list[Chart]:
        lines = []
        for number, method in enumerate(self.methods):
            by_seed = [accuracies([grid[method, ratio] for ratio in ratios], diverged) for grid in grids]
            rows = [[np.nan if value is None else value / 100 for value in row] for row in by_seed]
            lines.append(Line(LABELS[method], number, np.array(ratios), Spread.over(rows)))
        of_full = Cell(accuracies([grid["full", 0.0] for grid in grids], diverged))
        chart = line_chart(
            f"{self.file_name}-{dataset}",
            setting.titled(f"Test accuracy against the pruning ratio, {NAMES[dataset]}"),
            lines,
            ("pruning ratio", "test accuracy"),
            (percent, percent),
            level=(of_full.mean / 100, LABELS["full"]),
        )
        return [] if chart is None else [chart]

    @property
    def file_name(self) -> str:
        """How the files of its charts begin."""
        return self.title.lower().replace(" ", "-")


def _shares(jobs: Sequence[Job], of_full: Sequence[int], diverged: Mapping[str, str]) -> list[float | None]:
    return [
        None if job.name in diverged else summary_of(job)["total_examples"] / examples
        for job, examples in zip(jobs, of_full, strict=True)
    ]


@register("table3")
class TableIII(Comparison):
    """All methods; at small scale 90 % too, which the paper has in Table V."""

    title = "Table III"
    methods = BASELINES
    published: ClassVar[Known] = {**TABLE_III, "cifar10": {**TABLE_III["cifar10"], **TABLE_V}}

    def ratios(self, setting: Setting) -> Ratios:
        if setting.small:
            return {"cifar10": (0.3, 0.5, 0.7, 0.9)}
        return {dataset: sorted({ratio for _, ratio in grid}) for dataset, grid in TABLE_III.items()}


@register("table5")
class TableV(Comparison):
    """High ratios."""

    title = "Table V"
    methods = ("random", "forgetting", "el2n", "infobatch", "sadp")
    published: ClassVar[Known] = {"cifar10": TABLE_V}

    def ratios(self, setting: Setting) -> Ratios:
        return {"cifar10": (0.8, 0.9)}
