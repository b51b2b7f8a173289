"""Whether a run is done, running or stopped, for a list of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.store.engine.history import EpochRecord

RunState = Literal["done", "running", "stopped"]


def run_state(
    epoch: int | None, epochs: int | None, active: bool, history: Callable[[], Sequence[EpochRecord]]
) -> RunState:
    """Return the state of a run.

    A run is done once its last epoch is planned and, if training recorded metrics of any epoch, those of the
    last one are there.

    Args:
        epoch: of the latest plan, counted from 0; None before the first.
        epochs: number of epochs of the run; None if unknown.
        active: whether a job trains it.
        history: returns the epochs; called only if the last epoch is planned and no job trains.
    """
    if active:
        return "running"
    if epoch is None or epochs is None or epoch < epochs - 1:
        return "stopped"
    records = history()
    recorded = [record.epoch for record in records if record.training]
    return "done" if not recorded or recorded[-1] == epochs - 1 else "stopped"


def epochs_of_facts(facts: Mapping[str, Any]) -> int | None:
    """Return the number of epochs in `Run.facts()`; None if its rule is not known here, or it is damaged."""
    section = {key.removeprefix("pruning."): value for key, value in facts.items() if "pruning." in key}
    try:
        return PruningConfig.parse(PruningConfig.keys_in_use(section)).run_epochs
    except (UsageError, KeyError, TypeError):
        return None
