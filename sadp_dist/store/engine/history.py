"""What is kept of every epoch for people who watch: its plan in figures, and what training measured in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.passes import weight_figures
from sadp_dist.selection.plan import EpochPlan
from sadp_dist.selection.score_quality import ScoreQuality
from sadp_dist.selection.table import ScoreTable
from sadp_dist.store.engine.run import Figures
from sadp_dist.store.engine.stats import score_figures, staleness_figures

_NO_LINES = np.empty(0, np.uint8)


@dataclass(frozen=True)
class EpochRecord:
    """An epoch as it was planned, and how it went.

    Attributes:
        epoch: from 0.
        ratio: r_k.
        subset_size: S_k.
        drawn: examples drawn; under "bernoulli" not exactly S_k.
        gamma: γ, which lifts the smallest probability to the floor; None where the method has none.
        capped: examples with probability 1 because of their score; 0 in an epoch on all data.
        largest_weight: max w_i of those drawn.
        effective_sample_size: (Σ w)² / Σ w² of those drawn.
        seen: examples that had a score when the epoch was planned, as are the next three.
        score_quantiles: share of the scores -> the score below which they lie; None without scores.
        score_histogram: "zeros", "edges" and "counts", as `stats.Histogram` has them.
        staleness_mean: mean number of epochs since a seen example was scored; None without scores.
        weight_exponent: θ, the power of the weights.
        placed_share: share of the subset that the scores place; None where the method has no floor.
        noise_ratio: η of the epoch planned before, as `ScoreQuality` has it, as is the next one.
        rank_correlation: of the scores that the epoch before gave with those before it.
        training: what `Store.record` gave, by name.
    """

    epoch: int
    ratio: float
    subset_size: int
    drawn: int
    gamma: float | None
    capped: int
    largest_weight: float
    effective_sample_size: float
    seen: int
    score_quantiles: dict[str, float] | None
    score_histogram: dict[str, Any]
    staleness_mean: float | None
    weight_exponent: float = 1.0
    placed_share: float | None = None
    noise_ratio: float | None = None
    rank_correlation: float | None = None
    training: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: dicts, lists, strings, finite numbers, None."""
        return asdict(self)


def record_of(
    plan: EpochPlan, seen: int, table: ScoreTable, quality: ScoreQuality | None = None
) -> EpochRecord:
    """Return a plan that has just been made from this table, as the history keeps it.

    Args:
        plan: of the epoch.
        seen: examples that have a score.
        table: of the run.
        quality: of the plan before; None for none.
    """
    quality = quality or ScoreQuality()
    quantiles, histogram = score_figures(table.scores)
    staleness_mean, _ = staleness_figures(table.score_epochs, plan.epoch)
    largest_weight, effective_sample_size = weight_figures(plan.weights)
    return EpochRecord(
        epoch=plan.epoch,
        ratio=plan.ratio,
        subset_size=plan.subset_size,
        drawn=plan.drawn,
        gamma=plan.report.gamma,
        capped=plan.report.capped,
        largest_weight=largest_weight,
        effective_sample_size=effective_sample_size,
        seen=seen,
        score_quantiles=quantiles,
        score_histogram=histogram.to_dict(),
        staleness_mean=staleness_mean,
        weight_exponent=plan.weight_exponent,
        placed_share=plan.report.placed_share,
        noise_ratio=quality.noise_ratio,
        rank_correlation=quality.rank_correlation,
    )


class History:
    """The epochs of a run. What is recorded of an epoch may come before its plan."""

    def __init__(self) -> None:
        self._plans: dict[int, EpochRecord] = {}
        self._training: dict[int, dict[str, float]] = {}
        self._lines: dict[int, bytes] = {}  # each epoch is written once, however many snapshots there are

    def add(self, record: EpochRecord) -> None:
        """Keep the record of a plan, in the place of one of the same epoch."""
        self._plans[record.epoch] = record
        self._lines.pop(record.epoch, None)

    def record(self, figures: Figures) -> None:
        """Keep what training measured, in the place of what was recorded of that epoch before."""
        self._training[figures.epoch] = figures.values
        self._lines.pop(figures.epoch, None)

    def get(self, epoch: int) -> EpochRecord | None:
        """The record of an epoch; None where it was not planned."""
        plan = self._plans.get(epoch)
        return None if plan is None else replace(plan, training=dict(self._training.get(epoch, {})))

    def records(self) -> list[EpochRecord]:
        """Of every epoch planned, oldest first."""
        return [record for epoch in sorted(self._plans) if (record := self.get(epoch)) is not None]

    def lines(self) -> NDArray[np.uint8]:
        """All of it as an array for a file: a line of JSON for each epoch."""
        for epoch in self._plans.keys() | self._training.keys():
            if epoch not in self._lines:
                plan = self._plans.get(epoch)
                whole = {
                    "epoch": epoch,
                    "plan": None if plan is None else plan.to_dict(),
                    "training": self._training.get(epoch),
                }
                self._lines[epoch] = json.dumps(whole, allow_nan=False).encode()
        return np.frombuffer(b"\n".join(line for _, line in sorted(self._lines.items())), np.uint8)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> History:
        """From the arrays of a file, which has `lines` as its "history"; older ones have none."""
        history = cls()
        for line in arrays.get("history", _NO_LINES).tobytes().splitlines():
            whole = json.loads(line)
            epoch = whole["epoch"]
            if whole["plan"] is not None:
                history._plans[epoch] = EpochRecord(**whole["plan"])
            if whole["training"] is not None:
                history._training[epoch] = whole["training"]
            history._lines[epoch] = line
        return history
