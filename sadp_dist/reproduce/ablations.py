"""Tables VI and VII: SADP without each of its components, and with other β and r_max."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import percent, whole
from sadp_dist.report.run_groups import Spread
from sadp_dist.reproduce.baselines import NAMES, OF_PART
from sadp_dist.reproduce.experiment import Experiment, accuracies, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import pruned
from sadp_dist.reproduce.published import TABLE_VI, TABLE_VII_BETA, TABLE_VII_MAX_RATIO, Published
from sadp_dist.reproduce.result import Cell, Result, ResultTable

COMPONENTS: dict[str, dict[str, Any]] = {
    "SADP": {},
    "with the loss as score": {"scoring.score": "loss"},
    "without the schedule": {"pruning.max_ratio": None},
    "without smoothing": {"pruning.min_probability": 0.0},
}
"""The overrides of each row of Table VI."""


@register("table6")
class TableVI(Experiment):
    """SADP without its score, its schedule or its smoothing."""

    title = "Table VI"

    def cases(self, setting: ExperimentSetting) -> list[tuple[str, float]]:
        """Return the columns: datasets and ratios."""
        return [("cifar10", 0.7), ("cifar10", 0.9)] if setting.small else list(TABLE_VI)

    def job(self, setting: ExperimentSetting, dataset: str, ratio: float, row: str, seed: int) -> Job:
        """Return a run of a row."""
        return setting.job(dataset, {**pruned("sadp", ratio), **COMPONENTS[row]}, seed)

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [
            self.job(setting, *case, row, seed)
            for seed in setting.seeds
            for case in self.cases(setting)
            for row in COMPONENTS
        ]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        rows: dict[str, list[Cell | None]] = {}
        for row in COMPONENTS:
            rows[row] = [
                Cell(
                    accuracies([self.job(setting, *case, row, seed) for seed in setting.seeds], diverged),
                    TABLE_VI.get(case, {}).get(row),
                )
                for case in self.cases(setting)
            ]
        columns = [
            f"{ratio:.0%}" if setting.small else f"{NAMES[dataset]}, {ratio:.0%}"
            for dataset, ratio in self.cases(setting)
        ]
        title = setting.titled(
            f"Table VI: SADP without its components, test accuracy in %, {_where(setting)}"
        )
        return Result([ResultTable(title, "pruning ratio", columns, rows)])


@register("table7")
class TableVII(Experiment):
    """Other values of β or r_max, at a pruning ratio of 50 %."""

    title = "Table VII"

    def job(self, setting: ExperimentSetting, seed: int, **changed: float) -> Job:
        """Return a run with another β or r_max."""
        return setting.job("cifar10", pruned("sadp", 0.5, **changed), seed)

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [
            self.job(setting, seed, **{key: value})
            for seed in setting.seeds
            for key, published in _SWEEPS.items()
            for value in published
        ]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        tables, charts = [], []
        for key, published in _SWEEPS.items():
            symbol, show = _SYMBOLS[key]
            rows: dict[str, list[Cell | None]] = {}
            by_seed: list[list[float]] = [[] for _ in setting.seeds]
            for value, paper in published.items():
                jobs = [self.job(setting, seed, **{key: value}) for seed in setting.seeds]
                measured = accuracies(jobs, diverged)
                rows[show(value)] = [Cell(measured, paper)]
                for of_seed, accuracy in zip(by_seed, measured, strict=True):
                    of_seed.append(np.nan if accuracy is None else accuracy / 100)
            title = setting.titled(f"Table VII: SADP at 50 % by {symbol}, {_where(setting)}")
            tables.append(ResultTable(title, symbol, ["test accuracy, %"], rows))
            line = Line("SADP, r = 0.5", 0, np.array(list(published)), Spread.over(by_seed))
            chart = line_chart(
                f"table-vii-{key.replace('_', '-')}",
                title,
                [line],
                (symbol, "test accuracy"),
                (show, percent),
            )
            charts += [] if chart is None else [chart]
        return Result(tables, charts)


_SWEEPS: dict[str, dict[float, Published]] = {
    "min_probability": TABLE_VII_BETA,
    "max_ratio": TABLE_VII_MAX_RATIO,
}
_SYMBOLS = {"min_probability": ("β", whole), "max_ratio": ("r_max", percent)}


def _where(setting: ExperimentSetting) -> str:
    return OF_PART if setting.small else "CIFAR-10 and CIFAR-100"
