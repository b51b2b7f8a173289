"""The scores of one run and what follows from them; the one place where a store's answers are made."""

from __future__ import annotations

import warnings
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import EpochPlan, plan_epoch
from sadp_dist.selection.sharding import Shard
from sadp_dist.store.records import Records, check_indices, in_range
from sadp_dist.store.run import Run, check_rank, differences, is_integer
from sadp_dist.store.snapshot import Snapshot
from sadp_dist.store.stats import StoreStats, histogram, quantiles

PLANS_KEPT = 2
UNSEEN = -1


class Engine:
    """Scores in memory, without threads, processes or files: a home gives it those.

    Args:
        run: what the scores are of.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._scores = np.full(run.dataset_size, np.nan, np.float32)
        self._score_epochs = np.full(run.dataset_size, UNSEEN, np.int32)
        self._seen = 0
        self._plans: dict[int, EpochPlan] = {}
        self._pushes = 0
        self._pushed_scores = 0
        self._rejected_pushes = 0
        self._told_of_floor = False

    def apply(self, records: Records, pushes: int = 1) -> None:
        """Store checked records.

        An example keeps its score of the largest epoch, the largest within that: a maximum, so that neither
        the order of arrival nor a repeat changes anything.

        Args:
            records: what to store.
            pushes: how many pushes they came in.
        """
        self._seen += merge(self._scores, self._score_epochs, records.indices, records.scores, records.epoch)
        self._pushes += pushes
        self._pushed_scores += len(records.indices)

    def reject(self, pushes: int) -> None:
        """Count pushes that were refused, here or on their way."""
        self._rejected_pushes += pushes

    def plan(self, epoch: int) -> EpochPlan:
        """The plan of an epoch: made from the scores at the first call, the same ever after.

        The two made last are kept. The first in which `min_probability` is above S/N warns of it.

        Raises:
            UsageError: epoch is outside [0, K - 1].
        """
        epoch = self.run.check_epoch(epoch)
        if epoch not in self._plans:
            plan = plan_epoch(self._scores, epoch, self.run.pruning, self.run.labels)
            self._plans[epoch] = plan
            while len(self._plans) > PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
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
        return self.plan(epoch).shard(*check_rank(rank, world_size))

    def stats(self) -> StoreStats:
        """Figures about the scores and the latest plan."""
        seen = self._score_epochs >= 0
        scores, score_epochs = np.sort(self._scores[seen]), np.sort(self._score_epochs[seen])
        plan = self._plans[next(reversed(self._plans))] if self._plans else None
        now = max([*self._plans, *score_epochs[-1:].tolist()], default=0)
        staleness = now - score_epochs[::-1]
        return StoreStats(
            run=self.run.name,
            dataset_size=self.run.dataset_size,
            method=self.run.pruning.method,
            seen=self._seen,
            unseen=self.run.dataset_size - self._seen,
            **_plan_stats(plan, self.run.pruning.min_probability),
            score_quantiles=quantiles(scores),
            score_histogram=histogram(scores),
            staleness_mean=float(staleness.mean()) if len(staleness) else None,
            staleness_quantiles=quantiles(staleness),
            pushes=self._pushes,
            pushed_scores=self._pushed_scores,
            rejected_pushes=self._rejected_pushes,
            memory_bytes=self._memory_bytes(),
            shards=1,
            bytes_received=0,
            rejected_frames={},
            waiting_ranks=[],
            planner=None,
            last_snapshot=None,
        )

    def top(self, k: int, lowest: bool = False) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Store.top`."""
        if not is_integer(k) or k < 0:
            raise UsageError(f"k={k!r} is not a number of examples: an integer, 0 or more")
        seen = np.flatnonzero(self._score_epochs >= 0)
        keys = self._scores[seen] if lowest else -self._scores[seen]
        if 0 < k < len(keys):
            candidates = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
            seen, keys = seen[candidates], keys[candidates]
        best = seen[np.argsort(keys, kind="stable")[:k]]  # stable: ties in the order of their indices
        return best.astype(np.int64), self._scores[best]

    def scores(self, indices: ArrayLike) -> NDArray[np.float32]:
        """See `Store.scores`."""
        return self._scores[in_range(check_indices(indices), self.run.dataset_size)]

    def snapshot(self) -> Snapshot:
        """Everything the engine knows; it shares memory with the engine."""
        return Snapshot(
            run=self.run,
            scores=self._scores,
            score_epochs=self._score_epochs,
            counters={
                "pushes": self._pushes,
                "pushed_scores": self._pushed_scores,
                "rejected_pushes": self._rejected_pushes,
            },
            plans=tuple(self._plans.values()),
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
        self._scores = snapshot.scores
        self._score_epochs = snapshot.score_epochs
        self._seen = int(np.count_nonzero(self._score_epochs >= 0))
        self._plans = {plan.epoch: plan for plan in snapshot.plans}
        self._pushes = snapshot.counters["pushes"]
        self._pushed_scores = snapshot.counters["pushed_scores"]
        self._rejected_pushes = snapshot.counters["rejected_pushes"]

    def _memory_bytes(self) -> int:
        arrays: list[NDArray[Any]] = [self._scores, self._score_epochs]
        arrays += [] if self.run.labels is None else [self.run.labels]
        for plan in self._plans.values():
            arrays += [plan.indices, plan.weights]
        return sum(array.nbytes for array in arrays)


@numba.njit(cache=True, nogil=True)
def merge(
    scores: NDArray[np.float32],
    score_epochs: NDArray[np.int32],
    indices: NDArray[np.int64],
    new_scores: NDArray[np.float32],
    epoch: int,
) -> int:
    """Keep the larger (epoch, score) of each example; returns how many have a score for the first time."""
    first = 0
    for position in range(len(indices)):
        example = indices[position]
        score = new_scores[position] + np.float32(0)  # -0 becomes 0: equal scores have equal bits
        if epoch > score_epochs[example]:
            first += score_epochs[example] < 0
            score_epochs[example] = epoch
            scores[example] = score
        elif epoch == score_epochs[example] and score > scores[example]:
            scores[example] = score
    return first


def _plan_stats(plan: EpochPlan | None, min_probability: float) -> dict[str, Any]:
    if plan is None:
        names = ("epoch", "ratio", "subset_size", "drawn", "capped", "floor", "floor_in_force", "gamma")
        return dict.fromkeys((*names, "largest_weight", "effective_sample_size"))
    return {
        "epoch": plan.epoch,
        "ratio": plan.ratio,
        "subset_size": plan.subset_size,
        "drawn": len(plan.indices),
        "capped": plan.capping.capped,
        "floor": min(min_probability, plan.subset_size / plan.dataset_size),
        "floor_in_force": plan.capping.floor_in_force,
        "gamma": plan.capping.gamma,
        "largest_weight": plan.largest_weight,
        "effective_sample_size": plan.effective_sample_size,
    }
