"""How far the scores of a run are from the true gradient norms, as the run goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sadp_dist.reproduce.correlations import pearson
from sadp_dist.reproduce.experiment import Experiment, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.gradient_probe import Probe
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.pruning_pays import CIFAR10, MNIST, PLUS, PUBLISHED, Task, job_of
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.selection.plan import known_and_probabilities
from sadp_dist.store.backends.saved import FILE_NAME
from sadp_dist.store.engine.snapshot import Snapshot

EXAMPLES = 500
QUARTERS = 4
CASES = ((MNIST, 0.9), (CIFAR10, 0.7))
"""Tasks of `pays`, and pruning ratios."""
ROWS = {
    PUBLISHED: {},
    PLUS: {},
    "sadp-plus, calibrated": {"pruning.calibrate": True, "pruning.min_probability": 0.1},
}


class Measured(NamedTuple):
    """The plan of an epoch beside the true norms.

    Attributes:
        share: of the run that was over when the epoch was planned, in (0, 1).
        noise_ratio: η of `ScoreQuality`, with true norms in the place of scores.
        correlation: Pearson's, of what the rule knew and the true norms.
    """

    share: float
    noise_ratio: float
    correlation: float


@register("noise")
class ScoreNoise(Experiment):
    """Runs of the first seed on two tasks of `pays`, which keep the checkpoint of each epoch."""

    title = "How well scores choose"

    def _job(self, setting: ExperimentSetting, task: Task, ratio: float, row: str) -> Job:
        method = PUBLISHED if row == PUBLISHED else PLUS
        more = {**ROWS[row], "training.keep_checkpoints": 1000}
        return job_of(setting, task, method, ratio, setting.seeds[0], more)

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [self._job(setting, task, ratio, row) for task, ratio in CASES for row in ROWS]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        tables = []
        columns = [f"quarter {number + 1}" for number in range(QUARTERS)]
        for task, ratio in CASES:
            noise: dict[str, list[Cell | None]] = {}
            correlation: dict[str, list[Cell | None]] = {}
            for row in ROWS:
                job = self._job(setting, task, ratio, row)
                if job.name in diverged:
                    continue
                measured = measured_along(job, EXAMPLES)
                by_quarter = [[m for m in measured if int(QUARTERS * m.share) == n] for n in range(QUARTERS)]
                noise[row] = [_mean([m.noise_ratio for m in some]) for some in by_quarter]
                correlation[row] = [_mean([m.correlation for m in some]) for some in by_quarter]
            where = f"{task.name}, r = {ratio}, small scale"
            note = (
                f"{EXAMPLES:,} training examples, augmented as in the epoch that the plan is for, network in "
                "evaluation mode, norms over the weights of all layers. Means over a quarter of the run. "
                f"Seed {setting.seeds[0]} only."
            )
            tables += [
                ResultTable(f"Noise ratio with true gradient norms, {where}", "rule", columns, noise, note),
                ResultTable(
                    f"Correlation of the known scores with the true gradient norms, {where}",
                    "rule",
                    columns,
                    correlation,
                    note,
                ),
            ]
        return Result(tables)


def measured_along(job: Job, examples: int) -> list[Measured]:
    """Return the noise ratio and the correlation at the end of each epoch but the last.

    Args:
        job: a finished run that kept the checkpoints of all epochs.
        examples: how many of the dataset's are looked at.
    """
    config, found = job.config.pruning, []
    probe = Probe(job, examples)
    for epoch, checkpoint in probe.ends_of_epochs():
        snapshot = Snapshot.read(checkpoint / FILE_NAME)
        table, p = known_and_probabilities(snapshot.table, epoch, config, snapshot.plans[-1])
        if p.sum() == 0:  # the published schedule may end with an epoch that draws nothing
            continue
        norms, p_of = probe.norms(epoch), p[probe.indices]
        noise_ratio = np.mean(norms**2 / p_of) / np.mean(norms**2 / p.mean())
        correlation = pearson(table.scores[probe.indices], norms)
        found.append(Measured(epoch / config.run_epochs, float(noise_ratio), correlation))
    probe.close()
    return found


def _mean(values: list[float]) -> Cell | None:
    return Cell([float(np.mean(values))]) if values else None
