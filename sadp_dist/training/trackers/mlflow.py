"""MLflow; its own environment variables (MLFLOW_TRACKING_URI, ...) say where."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from sadp_dist.errors import MissingExtra
from sadp_dist.training.trackers import TrackedRun, kept_id

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
except ImportError as error:
    raise MissingExtra("mlflow", "mlflow") from error


class MLflow:
    """A run at MLflow, in the experiment that has the project's name."""

    def __init__(self, run: TrackedRun) -> None:
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._client = MlflowClient()
        self._id = kept_id(run, "mlflow", lambda: self._begin(run))
        self._client.update_run(self._id, status="RUNNING")

    def _begin(self, run: TrackedRun) -> str:
        experiment = self._client.get_experiment_by_name(run.project)
        experiment_id = (
            experiment.experiment_id if experiment else self._client.create_experiment(run.project)
        )
        run_id: str = self._client.create_run(experiment_id, run_name=run.name).info.run_id
        params = [Param(key, str(value)) for key, value in _flat(run.config)]
        for start in range(0, len(params), 100):  # as many as it takes at once
            self._client.log_batch(run_id, params=params[start : start + 100])
        return run_id

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(name, value, now, epoch) for name, value in figures.items()])

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value by its keys, as section.key."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


open_tracker = MLflow
