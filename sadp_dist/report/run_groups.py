"""Runs that differ in their seed alone belong together: one curve, mean and standard deviation."""

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
        label: what legends call it.
        runs: at least one; they differ in name, seed and place alone.
        number: its place in the report, which gives its colour.
    """

    label: str
    runs: tuple[RunRecord, ...]
    number: int

    @property
    def first(self) -> RunRecord:
        return self.runs[0]

    @property
    def with_history(self) -> tuple[RunRecord, ...]:
        """Runs whose store says how its epochs were planned."""
        return tuple(run for run in self.runs if run.history)


@dataclass(frozen=True)
class Spread:
    """A figure over the runs of a group.

    Attributes:
        mean: of the runs that have it, any shape.
        sd: standard deviation over them (n - 1), NaN where fewer than two have it.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def over(cls, rows: Sequence[Sequence[float]]) -> Spread:
        """Over rows of possibly different lengths: where one ends, the others go on without it."""
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
    """A figure of metrics.jsonl, epoch by epoch over runs; NaN for epochs without it."""
    rows = []
    for run in runs:
        values = [figure(record) for record in run.epochs]
        rows.append([np.nan if value is None else float(value) for value in values])
    return Spread.over(rows)


def group_runs(runs: Sequence[RunRecord]) -> list[Group]:
    """Groups in the order of their first runs, with labels that tell them apart."""
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
    """The configuration without what seeds of one recipe differ in, and what changes no result."""
    shared = {key: value for key, value in config.items() if key not in ("name", "seed", "output", "store")}
    shared["pruning"] = {key: value for key, value in config["pruning"].items() if key != "seed"}
    return shared


def _label(run: RunRecord) -> str:
    if not run.prunes:
        return "full data"
    name = {"sadp": "SADP", "random": "random pruning"}.get(run.method, run.method)
    return f"{name}, r = {run.ratio:g}"
