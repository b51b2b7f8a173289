"""The scores of one run and what follows from them; the one place where a store's answers are made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.selection.parts import LocalParts, Parts
from sadp_dist.selection.plan import PlanFigures, plan_parts, weight_figures
from sadp_dist.selection.sharding import Shard, join
from sadp_dist.store.engine.classes import ClassFigures, class_figures
from sadp_dist.store.engine.history import EpochRecord, Figures, History, record_of
from sadp_dist.store.engine.run import Run, check_rank, differences, is_integer
from sadp_dist.store.engine.stats import StoreStats, score_figures, staleness_figures
from sadp_dist.store.engine.table import RANKINGS, ScoreTable, best
from sadp_dist.store.engine.validation import Records, check_indices, in_range
from sadp_dist.store.wire.pieces import Outline, Pieces
from sadp_dist.store.wire.snapshot import Snapshot

PLANS_KEPT = 2
QUERIES = ("stats", "history", "classes", "top", "scores")


class Engine:
    """What a store answers, without threads, processes or files: a home gives it those.

    The scores lie in tables, each of a range of examples: one in this process, or several wherever the home
    has put them. The engine splits what comes in and puts together what comes back.

    Args:
        run: what the scores are of.
        tables: empty `ScoreTable`s over the run's data set; by default one, here.
    """

    def __init__(self, run: Run, tables: Parts | None = None) -> None:
        self.run = run
        self._tables = tables or LocalParts(
            [ScoreTable(range(run.dataset_size), run.dataset_size, run.labels, run.pruning.combine)]
        )
        self._seen = 0
        self._plans: dict[int, PlanFigures] = {}
        self._history = History()
        self._pushes = 0
        self._pushed_scores = 0
        self._rejected_pushes = 0
        self._told_of_floor = False

    def apply(self, records: Records, pushes: int = 1, repeat: bool = False) -> None:
        """Store checked records.

        An example keeps its score of the largest epoch, the largest within that: a maximum, so that neither
        the order of arrival nor a repeat changes anything; and so it is where a rule combines it with the one
        before. Of the epoch before it, it keeps the score that it
        had when the later one came.

        Args:
            records: what to store.
            pushes: how many pushes they came in.
            repeat: they came before and have been counted.
        """
        indices, scores, epoch = records
        self._seen += sum(
            self._tables.each_its(
                "merge", [(indices[mine], scores[mine], epoch) for mine in self._of_each_table(indices)]
            )
        )
        if not repeat:
            self._pushes += pushes
            self._pushed_scores += len(indices)

    def reject(self, pushes: int) -> None:
        """Count pushes that were refused, here or on their way."""
        self._rejected_pushes += pushes

    def plan(self, epoch: int) -> PlanFigures:
        """The plan of an epoch: made from the scores at the first call, the same ever after.

        The two made last are kept. The first in which `min_probability` is above S/N warns of it.

        Raises:
            UsageError: epoch is outside [0, K - 1].
        """
        epoch = self.run.check_epoch(epoch)
        if epoch not in self._plans:
            for old in list(self._plans)[: -(PLANS_KEPT - 1)]:  # first, for there may be memory for no more
                del self._plans[old]
                self._tables.each("forget", old)
            plan = plan_parts(self._tables, epoch, self.run.pruning)
            self._plans[epoch] = plan
            self._history.add(record_of(plan, self._seen, self._tables))
            if plan.capping.floor_in_force and not self._told_of_floor:
                self._told_of_floor = True
                warnings.warn(
                    f"epoch {epoch}: min_probability={self.run.pruning.min_probability} is above "
                    f"S/N={plan.subset_size / plan.dataset_size:g}, so every example has the same "
                    "probability; lower min_probability to keep choosing",
                    stacklevel=2,
                )
        return self._plans[epoch]

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
        plan = self.plan(epoch)
        asked = epoch, rank, world_size, plan.drawn, self.run.pruning.run_key(epoch)
        return plan.as_shard(*join(self._tables.each("shard", *asked)))

    def answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the answer to one of `QUERIES`: what the method of that name returns."""
        check_choice("query", name, QUERIES)
        return getattr(self, name)(**arguments)

    def stats(self) -> StoreStats:
        """Figures about the scores and the latest plan."""
        score_quantiles, score_histogram = score_figures(self._tables)
        staleness_mean, staleness_quantiles = staleness_figures(self._tables, max(self._plans, default=None))
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
            pushes=self._pushes,
            pushed_scores=self._pushed_scores,
            rejected_pushes=self._rejected_pushes,
            memory_bytes=sum(self._tables.each("memory_bytes")),
            bytes_received=0,
            bad_frames={},
            waiting_ranks=[],
            rank_epochs=[],
            planner=None,
            last_snapshot=None,
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
        epoch = self.latest_epoch
        parts = self._tables.each("class_sums", epoch)
        return None if any(part is None for part in parts) else class_figures(epoch, parts)

    def top(
        self, k: int, lowest: bool = False, by: str = "score"
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Store.top`."""
        check_choice("by", by, RANKINGS)
        if not is_integer(k) or k < 0:
            raise UsageError(f"k={k!r} is not a number of examples: an integer, 0 or more")
        indices, scores = zip(*self._tables.each("top", k, lowest, by), strict=True)
        return best(np.concatenate(indices), np.concatenate(scores), k, lowest)

    def scores(self, indices: ArrayLike) -> NDArray[np.float32]:
        """See `Store.scores`."""
        asked = in_range(check_indices(indices), self.run.dataset_size)
        places = list(self._of_each_table(asked))
        answers = self._tables.each_its("scores_of", [(asked[mine],) for mine in places])
        scores = np.empty(len(asked), np.float32)
        for mine, answer in zip(places, answers, strict=True):
            scores[mine] = answer
        return scores

    def outline(self) -> Outline:
        """Everything but what lies in the tables."""
        counters = {
            "pushes": self._pushes,
            "pushed_scores": self._pushed_scores,
            "rejected_pushes": self._rejected_pushes,
        }
        return Outline(self._seen, counters, tuple(self._plans.values()), self._history)

    def resume(self, outline: Outline) -> None:
        """Go on where an engine was that had tables such as these are now."""
        self._seen = outline.seen
        self._plans = {plan.epoch: plan for plan in outline.plans}
        self._history = outline.history
        self._pushes = outline.counters["pushes"]
        self._pushed_scores = outline.counters["pushed_scores"]
        self._rejected_pushes = outline.counters["rejected_pushes"]

    def snapshot(self) -> Snapshot:
        """Everything the engine knows, in this process; with one table here, it shares memory with it."""
        drawn = [self._tables.each("drawn", epoch) for epoch in self._plans]
        return Pieces(self.outline(), self._tables.each("state"), drawn).snapshot(self.run)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Engine:
        """An engine in the state of a snapshot, whose arrays it takes over, with one table, here."""
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
        self.take_over(Pieces.of(snapshot, self._tables.ranges))

    def take_over(self, pieces: Pieces) -> None:
        """Go to a state that is already in pieces, one for each table."""
        self._tables.each_its("restore", pieces.states)
        for plan, shares in zip(pieces.outline.plans, pieces.drawn, strict=True):
            self._tables.each_its("take", [(plan.epoch, share) for share in shares])
        self.resume(pieces.outline)

    def _of_each_table(self, indices: NDArray[np.int64]) -> Iterator[slice | NDArray[np.int64]]:
        """For each table, where in `indices` its examples are."""
        if len(self._tables.ranges) == 1:
            yield slice(None)
            return
        table = np.searchsorted([examples.stop for examples in self._tables.ranges], indices, side="right")
        for number in range(len(self._tables.ranges)):
            yield np.flatnonzero(table == number)

    def _plan_stats(self) -> dict[str, Any]:
        if not self._plans:
            names = ("epoch", "ratio", "subset_size", "drawn", "capped", "floor", "floor_in_force", "gamma")
            return dict.fromkeys((*names, "largest_weight", "effective_sample_size"))
        plan = self._plans[next(reversed(self._plans))]
        record = self._history.get(plan.epoch)
        if record is None:  # of a file from before there was a history
            largest_weight, effective_sample_size = weight_figures(self._tables, plan.epoch)
        else:
            largest_weight, effective_sample_size = record.largest_weight, record.effective_sample_size
        floor = min(self.run.pruning.min_probability, plan.subset_size / plan.dataset_size)
        return {
            "epoch": plan.epoch,
            "ratio": plan.ratio,
            "subset_size": plan.subset_size,
            "drawn": plan.drawn,
            "capped": plan.capping.capped,
            "floor": floor if self.run.pruning.rule.has_floor else None,
            "floor_in_force": plan.capping.floor_in_force,
            "gamma": plan.capping.gamma,
            "largest_weight": largest_weight,
            "effective_sample_size": effective_sample_size,
        }
