"""Figure 3: training time with each method, with tracking, relative to full data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import percent
from sadp_dist.report.run_groups import Spread
from sadp_dist.reproduce.baselines import NAMES, OF_PART
from sadp_dist.reproduce.experiment import Experiment, register, summary_of
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL, LABELS, pruned, with_tracking
from sadp_dist.reproduce.result import Cell, Result, ResultTable

METHODS = ("forgetting", "el2n", "random", "infobatch", "sadp")
RATIOS = (0.3, 0.5, 0.7)
HALF = {"training.epochs": 5, "training.evaluate_every": 5}
"""At small scale, half the epochs of other tables: relative times need no more."""


@register("figure3")
class Figure3(Experiment):
    """Timed runs of the first seed, one at a time."""

    title = "Figure 3"
    one_at_a_time = True

    def _dataset(self, setting: ExperimentSetting) -> str:
        return "cifar10" if setting.small else "cifar100"

    def _job(self, setting: ExperimentSetting, overrides: Mapping[str, Any]) -> Job:
        timed = {**(HALF if setting.small else {}), "tracking.trackers": []}
        if setting.small:
            overrides = with_tracking(overrides, 1)
        # Another value than the default gives its runs other names, so that no untimed table shares them.
        apart = {"training.keep_checkpoints": 1}
        return setting.job(self._dataset(setting), {**overrides, **timed, **apart}, setting.seeds[0])

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        pruning = [pruned(method, ratio) for method in METHODS for ratio in RATIOS]
        return [self._job(setting, overrides) for overrides in (FULL, *pruning)]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        full = summary_of(self._job(setting, FULL))
        rows: dict[str, list[Cell | None]] = {}
        lines = []
        for number, method in enumerate(METHODS):
            ratios = []
            for ratio in RATIOS:
                job = self._job(setting, pruned(method, ratio))
                lost = job.name in diverged
                ratios.append(None if lost else summary_of(job)["total_seconds"] / full["total_seconds"])
            rows[LABELS[method]] = [Cell([value], digits=3) for value in ratios]
            known = [[np.nan if value is None else value for value in ratios]]
            lines.append(Line(LABELS[method], number, np.array(RATIOS), Spread.over(known)))
        rows["lower bound"] = [Cell([1 - ratio], digits=3) for ratio in RATIOS]
        where = OF_PART if setting.small else NAMES[self._dataset(setting)]
        title = setting.titled(f"Figure 3: training time relative to full data, {where}")
        note = (
            f"Full data took {full['total_seconds']:,.1f} s. Time of planning and training, with tracking, "
            "without start-up, evaluation and checkpoints. One run at a time, one seed."
        )
        columns = [f"{ratio:.0%}" for ratio in RATIOS]
        chart = line_chart(
            "figure-3", title, lines, ("pruning ratio", "relative time"), (percent, percent), note
        )
        return Result(
            [ResultTable(title, "pruning ratio", columns, rows, note)], [] if chart is None else [chart]
        )
