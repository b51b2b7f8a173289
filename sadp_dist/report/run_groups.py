"""Groups of runs that differ only in their seed, with mean and standard deviation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.report.run_record import RunRecord


@dataclass(frozen=True)
class Group:
    """Runs of one recipe.

    Attributes:
        label: for legends.
        runs: at least one; they differ only in name, seed, output folder and store.
        number: position in the report, which selects the colour.
    """

    label: str
    runs: tuple[RunRecord, ...]
    number: int

    @property
    def first(self) -> RunRecord:
        return self.runs[0]

    @property
    def with_history(self) -> tuple[RunRecord, ...]:
        """Runs whose store has the records of its plans."""
        return tuple(run for run in self.runs if run.history)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a value over the runs of a group.

    Attributes:
        mean: over the runs that have the value, any shape.
        sd: standard deviation over them (n - 1); NaN if fewer than two have it.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def over(cls, rows: Sequence[Sequence[float]]) -> Spread:
        """Return the spread over rows, whose lengths may differ; missing and NaN values are ignored."""
        values = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
        for row, of_run in zip(values, rows, strict=True):
            row[: len(of_run)] = of_run
        there = np.isfinite(values)
        count = there.sum(axis=0)
        mean = np.divide(
            values.sum(axis=0, where=there), count, out=np.full(len(count), np.nan), where=count > 0
        )
        squares = ((values - mean) ** 2).sum(axis=0, where=there)
        sd = np.sqrt(np.divide(squares, count - 1, out=np.full(len(count), np.nan), where=count > 1))
        return cls(mean, sd)


def over_epochs(runs: Sequence[RunRecord], figure: Callable[[dict[str, Any]], float | None]) -> Spread:
    """Return the spread of a value of metrics.jsonl for each epoch; NaN for epochs without it."""
    rows = []
    for run in runs:
        values = [figure(record) for record in run.epochs]
        rows.append([np.nan if value is None else float(value) for value in values])
    return Spread.over(rows)


def group_runs(runs: Sequence[RunRecord]) -> list[Group]:
    """Return the groups in the order of their first runs, with distinct labels."""
    recipes: dict[str, list[RunRecord]] = {}
    for run in runs:
        recipes.setdefault(json.dumps(_recipe(run.config), sort_keys=True, default=str), []).append(run)
    groups = [
        Group(_label(members[0]), tuple(members), number) for number, members in enumerate(recipes.values())
    ]
    labels = [group.label for group in groups]
    return [
        group
        if labels.count(group.label) == 1
        else replace(group, label=f"{group.label} ({group.first.name})")
        for group in groups
    ]


def _recipe(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without the seed and without keys that change no result."""
    shared = {key: value for key, value in config.items() if key not in ("name", "seed", "output", "store")}
    shared["pruning"] = {key: value for key, value in config["pruning"].items() if key != "seed"}
    return shared


def _label(run: RunRecord) -> str:
    if not run.prunes:
        return "full data"
    name = {"sadp": "SADP", "random": "random pruning"}.get(run.method, run.method)
    return f"{name}, r = {run.ratio:g}"
