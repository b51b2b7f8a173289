"""Reads a run directory: configuration, metrics of each epoch and saved store."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.selection import RULES
from sadp_dist.store import RunView, open_snapshot
from sadp_dist.store.backends.saved import CHECKPOINTS
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.terminal import visible
from sadp_dist.time_saved import time_saved_in_words
from sadp_dist.training.achieved import differ_clearly, ratios_in_words
from sadp_dist.training.config import own_modules
from sadp_dist.training.config_file import CONFIG_FILE
from sadp_dist.training.metrics import METRICS_FILE, parse_metrics, skipped_in_words
from sadp_dist.training.safe_yaml import safe_yaml


@dataclass(frozen=True)
class RunRecord:
    """The content of a run directory, finished or not.

    Attributes:
        path: the directory.
        config: of the run, as plain mappings.
        epochs: the "epoch" records of metrics.jsonl, in order.
        finished: whether the run is complete.
        store: of the newest checkpoint; None if there is none.
        notes: remarks about the run, for example what is missing; sentences.
        achieved_ratio: share of all examples of all epochs that the run skipped; None until it is complete.
    """

    path: Path
    config: dict[str, Any]
    epochs: list[dict[str, Any]]
    finished: bool
    store: RunView | None
    notes: list[str] = field(default_factory=list)
    achieved_ratio: float | None = None

    @property
    def name(self) -> str:
        return visible(str(self.config["name"]))

    @property
    def method(self) -> str:
        return str(self.config["pruning"]["method"])

    @property
    def prunes(self) -> bool:
        return self.method != "full"

    @property
    def ratio(self) -> float:
        """Mean pruning ratio r; 0 for full data."""
        return float(self.config["pruning"]["ratio"]) if self.prunes else 0.0

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def planned_epochs(self) -> int:
        """Number of epochs with tracking; without a store, that of the configuration."""
        return int(self.config["training"]["epochs"]) if self.store is None else self.store.stats().epochs

    @property
    def needs_scores(self) -> bool:
        """Whether its pruning rule uses scores; True for a rule that is not registered here."""
        return self.method not in RULES or RULES[self.method].needs_scores

    @cached_property
    def history(self) -> list[EpochRecord]:
        return [] if self.store is None else self.store.history()

    @cached_property
    def classes(self) -> ClassFigures | None:
        return None if self.store is None else self.store.classes()

    @cached_property
    def dataset_size(self) -> int | None:
        """N; None without a checkpoint."""
        return None if self.store is None else self.store.stats().dataset_size

    def last(self, name: str) -> Any:
        """Return the latest value of a metric; None if no epoch has it."""
        return next((record[name] for record in reversed(self.epochs) if record.get(name) is not None), None)

    @property
    def progress(self) -> str:
        """The number of epochs done, in words."""
        epochs = f"{len(self.epochs)} of {self.planned_epochs} epochs"
        return epochs if self.finished else f"{epochs}; not finished, last written {self._written}"

    @property
    def _written(self) -> str:
        age = max(time.time() - (self.path / METRICS_FILE).stat().st_mtime, 0)
        for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
            if age >= 2 * seconds:
                return f"{age / seconds:.0f} {unit} ago"
        return "just now"


def read_run(run_dir: Path) -> RunRecord:
    """Read the directory of a run that is finished, interrupted or still training.

    Raises:
        UsageError: there is no run in it, or its configuration cannot be read.
    """
    if not (run_dir / METRICS_FILE).is_file():
        raise UsageError(
            f"{run_dir} holds no run: {METRICS_FILE} is missing; give a directory that sadp-dist train wrote"
        )
    try:
        config = safe_yaml((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{run_dir / CONFIG_FILE} cannot be read ({reason}); give a directory that sadp-dist train wrote"
        ) from None
    if not isinstance(config, dict) or not isinstance(config.get("pruning"), dict):
        raise UsageError(
            f"{run_dir / CONFIG_FILE} is not the configuration of a run; give a directory that sadp-dist "
            "train wrote"
        )
    import_modules(own_modules(config))
    records, skipped = parse_metrics(run_dir)
    epochs = [record for record in records if record["event"] == "epoch"]
    end = records[-1] if records and records[-1]["event"] == "end" else {}
    notes = [] if epochs else ["No epoch is finished yet."]
    if skipped:
        notes.append(f"In {METRICS_FILE}, {skipped_in_words(skipped)}.")
    store = None
    try:
        store = open_snapshot(run_dir / CHECKPOINTS)
    except UsageError:
        notes.append("There is no readable checkpoint, so the report has no scores and plans of this run.")
    run = RunRecord(run_dir, config, epochs, bool(end), store, notes, end.get("achieved_ratio"))
    if not run.prunes:
        notes.append("This run uses the full data; it has no subsets and no scores.")
    elif not run.needs_scores:
        notes.append(f"The method {run.method!r} does not use scores.")
    if run.achieved_ratio is not None and (end.get("ratio_reason") or differ_clearly(end)):
        notes.append(f"This run {ratios_in_words(end)}.")
    if epochs and (saved := time_saved_in_words(epochs[-1])) is not None:
        notes.append(f"Time saved: {saved}.")
    return run


def summary(runs: list[RunRecord]) -> list[dict[str, Any]]:
    """Return one row per run as plain JSON; `time_ratio` refers to the first run."""
    rows: list[dict[str, Any]] = [
        {
            "run": str(run.path),
            "method": run.method,
            "ratio": run.ratio,
            "achieved_ratio": run.achieved_ratio,
            "test_accuracy": run.last("test_accuracy"),
            "examples": run.last("total_examples") or 0,
            "seconds": run.last("total_seconds") or 0.0,
            "epochs": len(run.epochs),
            "planned_epochs": run.planned_epochs,
            "finished": run.finished,
        }
        for run in runs
    ]
    for row in rows:
        row["time_ratio"] = row["seconds"] / rows[0]["seconds"] if rows[0]["seconds"] else None
    return rows
