"""Figure 6: the largest weight of an example in each epoch, with and without smoothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import short, whole
from sadp_dist.report.run_groups import over_epochs
from sadp_dist.report.run_record import read_run
from sadp_dist.reproduce.experiment import Experiment, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import pruned
from sadp_dist.reproduce.result import Result

SMOOTHING = {"with smoothing, β = 0.3": {}, "without smoothing": {"min_probability": 0.0}}


@register("figure6")
class Figure6(Experiment):
    """Runs of Table VII, at a pruning ratio of 50 %."""

    title = "Figure 6"

    def _jobs(self, setting: ExperimentSetting, line: str) -> list[Job]:
        return [
            setting.job("cifar10", pruned("sadp", 0.5, **SMOOTHING[line]), seed) for seed in setting.seeds
        ]

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [job for line in SMOOTHING for job in self._jobs(setting, line)]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        lines = []
        for number, name in enumerate(SMOOTHING):
            runs = [read_run(job.run_dir) for job in self._jobs(setting, name)]
            factors = over_epochs(runs, lambda record: record.get("largest_weight"))
            lines.append(Line(name, number, np.arange(1.0, len(factors.mean) + 1), factors))
        chart = line_chart(
            "figure-6",
            setting.titled("Figure 6: largest weight of an example in each epoch"),
            lines,
            ("epoch", "largest S / (N p)"),
            (whole, short),
            log=True,
        )
        return Result(charts=[] if chart is None else [chart])
