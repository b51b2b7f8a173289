"""The state of an engine, table by table: what travels where its tables lie in several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.plan import EpochPlan, PlanFigures
from sadp_dist.selection.sharding import Drawn, join
from sadp_dist.store.engine.history import History
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.table import UNSEEN, State
from sadp_dist.store.wire.snapshot import Snapshot


@dataclass(frozen=True)
class Outline:
    """What an engine knows beside what lies in its tables.

    Attributes:
        seen: examples that have a score.
        counters: pushes and the like, by name.
        plans: figures of those that are kept, oldest first.
        history: of the epochs so far.
    """

    seen: int
    counters: dict[str, int]
    plans: tuple[PlanFigures, ...]
    history: History


class Pieces(NamedTuple):
    """A snapshot, table by table.

    Attributes:
        outline: of the engine.
        states: of each table, as `ScoreTable.state` gives it.
        drawn: of each plan, what is drawn of each table.
    """

    outline: Outline
    states: Sequence[State]
    drawn: Sequence[Sequence[Drawn]]

    @classmethod
    def of(cls, snapshot: Snapshot, ranges: Sequence[range]) -> Pieces:
        """A snapshot taken to pieces, which share its memory."""
        states = [snapshot.state.within(r) for r in ranges]
        seen = sum(int(np.count_nonzero(state.score_epochs != UNSEEN)) for state in states)
        wholes = [Drawn(None, plan.indices, plan.weights) for plan in snapshot.plans]
        drawn = [
            [whole] if len(ranges) == 1 else [whole.within(examples) for examples in ranges]
            for whole in wholes
        ]
        plans = tuple(plan.figures() for plan in snapshot.plans)
        return cls(Outline(seen, snapshot.counters, plans, snapshot.history), states, drawn)

    def snapshot(self, run: Run) -> Snapshot:
        """The pieces put together; a single one is not copied."""
        scores, score_epochs, scores_before = (_joined(arrays) for arrays in zip(*self.states, strict=True))
        plans = []
        for plan, shares in zip(self.outline.plans, self.drawn, strict=True):
            indices, weights = join(shares)
            plans.append(EpochPlan(**vars(plan), indices=indices, weights=weights))
        outline, state = self.outline, State(scores, score_epochs, scores_before)
        return Snapshot(run, state, outline.counters, tuple(plans), outline.history)


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
