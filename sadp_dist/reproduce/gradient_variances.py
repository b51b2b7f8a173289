"""Figure 5: variance of the gradient estimate by epoch, from the true gradient norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.report.gradient_variance import estimate_variance
from sadp_dist.report.line_chart import Line, line_chart
from sadp_dist.report.number_format import short, whole
from sadp_dist.report.run_groups import Spread
from sadp_dist.reproduce.experiment import Experiment, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.gradient_probe import Probe
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import pruned
from sadp_dist.reproduce.result import Result
from sadp_dist.selection import selection_probabilities
from sadp_dist.selection.plan import epoch_probabilities
from sadp_dist.store import open_snapshot

EXAMPLES = 500
LINES: dict[str, dict[str, Any]] = {
    "random pruning": pruned("random", 0.5),
    "InfoBatch": pruned("infobatch", 0.5),
    "SADP, β = 0.1": pruned("sadp", 0.5, min_probability=0.1),
    "SADP, β = 0.3": pruned("sadp", 0.5),
    "SADP, β = 0.5": pruned("sadp", 0.5, min_probability=0.5),
}


FRESH_OF = "SADP, β = 0.3"
FRESH = f"{FRESH_OF}, fresh scores"
"""The probabilities that the run would have had, if every score were measured before each epoch."""


@register("figure5")
class Figure5(Experiment):
    """Runs of the first seed that keep the checkpoint of each epoch."""

    title = "Figure 5"

    def _job(self, setting: ExperimentSetting, name: str) -> Job:
        kept = {"training.keep_checkpoints": 1000}
        return setting.job("cifar10", {**LINES[name], **kept}, setting.seeds[0])

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [self._job(setting, name) for name in LINES]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        lines = []
        for number, name in enumerate(LINES):
            job = self._job(setting, name)
            if job.name in diverged:
                continue
            epochs, variances, fresh = variances_of(job, EXAMPLES, fresh=name == FRESH_OF)
            lines.append(Line(name, number, np.array(epochs, np.float64), Spread.over([variances])))
            if fresh:
                lines.append(Line(FRESH, len(LINES), np.array(epochs, np.float64), Spread.over([fresh])))
        chart = line_chart(
            "figure-5",
            setting.titled("Figure 5: variance of the gradient estimate at r = 0.5"),
            lines,
            ("epoch", "1/N² Σ (1 - p) ‖g‖² / p"),
            (whole, short),
            f"Eq. 12 with independent draws, from the true norms of at most {EXAMPLES} training examples at "
            "the end of each epoch and the method's probabilities for the next epoch, in the method's own "
            "run. InfoBatch prunes nothing in the first and the last epochs. If it keeps no example below "
            "the mean loss, every p is 0 or 1, and the estimate has no variance but ignores those examples. "
            "The scores of SADP are those in the store: measured during training, some epochs ago. Fresh "
            "scores: of the last layer, measured at the end of the epoch before, at the same S.",
            log=True,
        )
        return Result(charts=[] if chart is None else [chart])


def variances_of(job: Job, examples: int, fresh: bool = False) -> tuple[list[int], list[float], list[float]]:
    """Return epochs, counted from 1, and the variance of the gradient estimate in each (Eq. 12).

    Probabilities and norms come from the scores and weights at the end of the epoch before. The variance for
    all N examples is estimated from a part of them.

    Args:
        job: a finished run that kept the checkpoints of all epochs.
        examples: how many of the dataset's are looked at.
        fresh: for a run of SADP: also with the probabilities from fresh scores, third; else that is empty.
    """
    config = job.config.pruning
    probe = Probe(job, examples)
    everyone = np.arange(probe.dataset_size)
    epochs, variances, of_fresh = [], [], []

    def variance_of(p: NDArray[np.float64], norms: NDArray[np.float64]) -> float:
        return estimate_variance(norms, p) * len(p) / probe.dataset_size  # 1/n² Σ over n examples

    for epoch, checkpoint in probe.ends_of_epochs():
        p = epoch_probabilities(open_snapshot(checkpoint).scores(everyone), epoch, config)
        of_sample, norms = p[probe.indices], probe.norms()
        epochs.append(epoch + 1)
        variances.append(variance_of(of_sample, norms))
        if fresh:
            S = p.mean() * len(of_sample)
            floor = config.to_dict()["min_probability"]
            scores = probe.gradient_scores("last")
            of_fresh.append(variance_of(selection_probabilities(scores, S, floor), norms))
    probe.close()
    return epochs, variances, of_fresh
