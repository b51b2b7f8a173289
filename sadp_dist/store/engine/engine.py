"""The scores of one run and what follows from them; the one place where a store's answers are made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import EpochPlan, Shard, check_rank, is_integer, plan_table
from sadp_dist.selection.score_quality import ScoreQuality, score_quality
from sadp_dist.selection.table import NOT_SCORED, ScoreTable
from sadp_dist.store.engine.classes import ClassFigures, class_figures
from sadp_dist.store.engine.history import EpochRecord, History, record_of
from sadp_dist.store.engine.run import Figures, Records, Run, check_indices, differences, in_range
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.engine.stats import RANKINGS, StoreStats, score_figures, staleness_figures, top

PLANS_KEPT = 2
COUNTERS = ("pushes", "pushed_scores", "rejected_pushes")
_OF_RECORD = (
    "largest_weight",
    "effective_sample_size",
    "weight_exponent",
    "placed_share",
    "noise_ratio",
    "rank_correlation",
)
QUERIES = ("stats", "history", "classes", "top", "scores")


class Engine:
    """What a store answers, without threads, processes or files: a backend adds those.

    Args:
        run: what the scores are of.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.table = ScoreTable.empty(run.dataset_size, run.labels, run.pruning.rule.arrays)
        self._seen = 0
        self._plans: dict[int, EpochPlan] = {}
        self._history = History()
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._told_of_floor = False

    def apply(self, records: Records, pushes: int = 1, repeat: bool = False) -> None:
        """Store checked records.

        An example keeps the score of its latest epoch, and the largest one if that epoch gave several. So
        neither the order of arrival nor a repeat changes anything, also where a rule combines the score with
        the one before. The score of the epoch before is the one that the later epoch replaced.

        Args:
            records: what to store.
            pushes: how many pushes they came in.
            repeat: they came before and have been counted.
        """
        indices, scores, epoch = records
        self._seen += self.table.merge(indices, scores, epoch, self.run.pruning.rule.combine)
        if not repeat:
            self._counters["pushes"] += pushes
            self._counters["pushed_scores"] += len(indices)

    def reject(self, pushes: int) -> None:
        """Count pushes that were refused, here or on their way."""
        self._counters["rejected_pushes"] += pushes

    def plan(self, epoch: int) -> EpochPlan:
        """The plan of an epoch: made from the scores at the first call, the same ever after.

        The two made last are kept. The first in which `min_probability` is above S/N warns of it.

        Raises:
            UsageError: epoch is outside [0, K - 1].
        """
        epoch = self.run.check_epoch(epoch)
        if epoch not in self._plans:
            for old in list(self._plans)[: -(PLANS_KEPT - 1)]:  # first, for there may be memory for no more
                del self._plans[old]
            last = next(reversed(self._plans.values()), None)
            quality = self._quality_recorded(epoch) if last is None else self._quality_of(last)
            plan = plan_table(self.table, epoch, self.run.pruning, last)
            self._plans[epoch] = plan
            self._history.add(record_of(plan, self._seen, self.table, quality))
            if plan.report.floor_in_force and not self._told_of_floor:
                self._told_of_floor = True
                warnings.warn(
                    f"epoch {epoch + 1} of {self.run.pruning.run_epochs}: "
                    f"min_probability={self.run.pruning.min_probability} is above "
                    f"S/N={plan.subset_size / plan.dataset_size:g}, so every example has the same "
                    "probability; lower min_probability to keep choosing",
                    stacklevel=2,
                )
        return self._plans[epoch]

    def _quality_recorded(self, epoch: int) -> ScoreQuality:
        """Return what is on record of a plan that is made again, from a snapshot without the one before."""
        record = self._history.get(epoch)
        if record is None:
            return ScoreQuality()
        return ScoreQuality(record.noise_ratio, record.rank_correlation)

    def _quality_of(self, plan: EpochPlan) -> ScoreQuality:
        rule, _ = self.run.pruning.rule_of(plan.epoch)
        if not rule.needs_scores:
            return ScoreQuality()
        return score_quality(self.table, plan, importance=rule.weighting == "importance")

    @property
    def latest_epoch(self) -> int | None:
        """Of the plan made last; None before the first."""
        return next(reversed(self._plans), None)

    def has_plan(self, epoch: int) -> bool:
        """Whether the plan of an epoch is made and still kept."""
        return epoch in self._plans

    def shard(self, epoch: int, rank: int, world_size: int) -> Shard:
        """One rank's part of `plan(epoch)`.

        Raises:
            UsageError: an argument is out of its range.
        """
        epoch = self.run.check_epoch(epoch)
        rank, world_size = check_rank(rank, world_size)
        return self.plan(epoch).shard(rank, world_size)

    def answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the answer to one of `QUERIES`: what the method of that name returns."""
        check_choice("query", name, QUERIES)
        return getattr(self, name)(**arguments)

    def stats(self) -> StoreStats:
        """Figures about the scores and the latest plan."""
        score_quantiles, score_histogram = score_figures(self.table.scores)
        latest = max(self._plans, default=None)
        staleness_mean, staleness_quantiles = staleness_figures(self.table.score_epochs, latest)
        return StoreStats(
            run=self.run.name,
            dataset_size=self.run.dataset_size,
            method=self.run.pruning.method,
            epochs=self.run.pruning.run_epochs,
            seen=self._seen,
            unseen=self.run.dataset_size - self._seen,
            **self._plan_stats(),
            score_quantiles=score_quantiles,
            score_histogram=score_histogram,
            staleness_mean=staleness_mean,
            staleness_quantiles=staleness_quantiles,
            pushes=self._counters["pushes"],
            pushed_scores=self._counters["pushed_scores"],
            rejected_pushes=self._counters["rejected_pushes"],
            memory_bytes=self.memory_bytes(),
            data=self.run.data,
        )

    def record(self, figures: Figures) -> None:
        """Keep what training measured in an epoch.

        Raises:
            UsageError: the run has no such epoch.
        """
        self._history.record(figures._replace(epoch=self.run.check_epoch(figures.epoch)))

    def history(self) -> list[EpochRecord]:
        """See `Store.history`."""
        return self._history.records()

    def classes(self) -> ClassFigures | None:
        """See `Store.classes`."""
        labels, epoch = self.table.labels, self.latest_epoch
        if labels is None:
            return None
        drawn = np.empty(0, np.int32) if epoch is None else self._plans[epoch].indices
        return class_figures(labels, self.table.scores, epoch, drawn)

    def top(
        self, k: int, lowest: bool = False, by: str = "score"
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Store.top`."""
        check_choice("by", by, RANKINGS)
        if not is_integer(k) or k < 0:
            raise UsageError(f"k={k!r} is not a number of examples: an integer, 0 or more")
        return top(self.table, k, lowest, by)

    def scores(self, indices: ArrayLike) -> NDArray[np.float32]:
        """See `Store.scores`."""
        asked = in_range(check_indices(indices), self.run.dataset_size)
        return self.table.scores[asked]

    def memory_bytes(self) -> int:
        """Bytes of the scores, the labels and the plans that are kept."""
        return self.table.memory_bytes() + sum(plan.memory_bytes() for plan in self._plans.values())

    def snapshot(self) -> Snapshot:
        """Everything the engine knows; it shares memory with the engine."""
        return Snapshot(
            self.run, self.table, dict(self._counters), tuple(self._plans.values()), self._history
        )

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Engine:
        """An engine in the state of a snapshot, whose arrays it takes over."""
        engine = cls(snapshot.run)
        engine.restore(snapshot)
        return engine

    def restore(self, snapshot: Snapshot) -> None:
        """Go to the state of a snapshot, whose arrays the engine takes over; its run may have another name.

        Raises:
            UsageError: its data set size, configuration or labels are others; the engine is unchanged.
        """
        unlike = differences(snapshot.run.facts(), self.run.facts())
        if unlike:
            raise UsageError(f"the saved store is of another run: {unlike}")
        self.table = replace(snapshot.table, labels=self.run.labels)
        self._seen = int(np.count_nonzero(self.table.score_epochs != NOT_SCORED))
        self._plans = {plan.epoch: plan for plan in snapshot.plans}
        self._history = snapshot.history
        self._counters = {name: snapshot.counters[name] for name in COUNTERS}

    def _plan_stats(self) -> dict[str, Any]:
        if not self._plans:
            names = ("epoch", "ratio", "subset_size", "drawn", "capped", "floor", "floor_in_force", "gamma")
            return dict.fromkeys((*names, *_OF_RECORD))
        plan = self._plans[next(reversed(self._plans))]
        # Files from before there was a history have no record of it.
        record = self._history.get(plan.epoch) or record_of(plan, self._seen, self.table)
        floor = self.run.pruning.rule.floor(plan.subset_size, plan.dataset_size)
        return {
            "epoch": plan.epoch,
            "ratio": plan.ratio,
            "subset_size": plan.subset_size,
            "drawn": plan.drawn,
            "capped": plan.report.capped,
            "floor": None if floor is None else min(floor, plan.subset_size / plan.dataset_size),
            "floor_in_force": plan.report.floor_in_force,
            "gamma": plan.report.gamma,
            **{name: getattr(record, name) for name in _OF_RECORD},
        }
