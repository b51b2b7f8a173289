"""Trains a run in its run directory, on every rank: ``sadp-dist train``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import UsageError
from sadp_dist.training.achieved import ratios
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.config_file import CONFIG_FILE, first_difference, read_saved
from sadp_dist.training.metrics import METRICS_FILE, MetricsLog, read_metrics, rewind_metrics
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.progress import Progress
from sadp_dist.training.trackers import TRACKERS, TrackedRun, find_trackers
from sadp_dist.training.trackers.following import Follower
from sadp_dist.training.trainer import Trainer


def train(
    config: TrainConfig,
    existing: Literal["refuse", "resume", "overwrite"] = "refuse",
    show: bool = True,
) -> dict[str, Any]:
    """Train one run, as a single process or as one rank of a torchrun job.

    It writes ``config.yaml``, ``metrics.jsonl``, ``checkpoints/`` and a folder per tracker, such as
    ``tensorboard/``, to the run directory.

    Args:
        config: of the run.
        existing: what to do if the run directory already holds a run. "resume" continues from its newest
            checkpoint, or from the start if there is none.
        show: print a line for each epoch.

    Returns:
        The run's summary, which is also the last line of ``metrics.jsonl``; empty on ranks other than 0.

    Raises:
        UsageError: the configuration cannot work, or the run directory holds another run.
        TrainingDiverged: the loss or a score is not finite.
        StoreUnavailable: the store can no longer be reached.
    """
    with join_job() as process:
        process.agree(lambda: check_run_dir(config, existing, process))
        trackers = process.agree(lambda: find_trackers(config.tracking.trackers if process.is_first else ()))
        trainer = Trainer(config, process)  # reports errors before anything is written or deleted
        process.agree(lambda: _prepare_run_dir(config, existing, process))
        checkpoints = Checkpoints(config.run_dir, config.training.keep_checkpoints)
        resumed = existing == "resume" and trainer.resume(checkpoints)
        if not resumed:  # the store may hold the scores of an earlier job
            trainer.store.reset()
        shown, phases = show and process.is_first, trainer.phases
        progress = Progress(config.name, phases.epochs, enabled=shown, tracking=phases.tracking)
        if not process.is_first:
            trainer.run(checkpoints, None, progress)
            trainer.store.close()
            return {}
        if shown and resumed and trainer.epoch < phases.epochs:
            progress.console.print(f"resuming at epoch {trainer.epoch + 1}, batch {trainer.batch + 1}")
        rewind_metrics(config.run_dir, before_epoch=trainer.epoch)
        tracked = TrackedRun(
            config.name, config.tracking.project, config.run_dir, config.to_dict(), trainer.epoch
        )
        followers = [Follower(name, open_tracker, tracked) for name, open_tracker in trackers.items()]
        with MetricsLog(config.run_dir, followers) as log:
            with progress:
                trainer.run(checkpoints, log, progress)
            last = read_metrics(config.run_dir)[-1]
            summary = {
                **last,
                "event": "end",
                "method": config.pruning.method,
                "world_size": process.world_size,
                **ratios(config.pruning, trainer.totals, trainer.data.size),
                **{name: figure for name, figure in trainer.totals.items() if name.startswith("tracking_")},
            }
            log.write(summary)
            progress.run_done(summary)
        trainer.store.close()
        return summary


def train_stages(
    stages: Sequence[TrainConfig], existing: Literal["refuse", "resume", "overwrite"] = "refuse"
) -> list[dict[str, Any]]:
    """Train the runs of a file in order. A resumed job skips the complete ones, except the last.

    Args:
        stages: from ``load_stages``; each has the one before it as its ``network.weights``.
        existing: for each run directory, as in ``train``.

    Returns:
        The summaries of the runs; each is empty on ranks other than 0.
    """
    summaries = []
    with join_job() as process:
        for config in stages:  # before the first of them starts
            process.agree(partial(check_run_dir, config, existing, process))
        for config in stages:
            resumes = existing == "resume" and config is not stages[-1]
            done = torch.tensor(process.is_first and resumes and is_done(config.run_dir))
            if process.sum(done.long()) > 0:
                summaries.append(read_metrics(config.run_dir)[-1] if process.is_first else {})
            else:
                summaries.append(train(config, existing))
    return summaries


def is_done(run_dir: Path) -> bool:
    """Return whether a directory holds a complete run."""
    records = read_metrics(run_dir) if (run_dir / METRICS_FILE).exists() else []
    return bool(records) and records[-1]["event"] == "end"


def check_run_dir(config: TrainConfig, existing: str, process: Process) -> None:
    """Refuse a run directory that holds another run; checks on rank 0."""
    run_dir = config.run_dir
    if existing == "overwrite" or not process.is_first or not (run_dir / METRICS_FILE).exists():
        return
    if existing == "refuse":
        raise UsageError(
            f"{run_dir} already holds a run; add --resume to continue it, --overwrite to replace it, or set "
            "output=DIR"
        )
    try:
        earlier = read_saved(run_dir / CONFIG_FILE).to_dict()
    except UsageError as error:
        raise UsageError(f"{error}; use --overwrite") from None
    difference = first_difference(
        _without_what_may_change(earlier), _without_what_may_change(config.to_dict())
    )
    if difference is not None:
        raise UsageError(
            f"{run_dir} was run with another configuration ({difference}); --resume needs the same "
            "configuration"
        )


def _without_what_may_change(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without the keys that a resumed run may change."""
    training = dict(config.get("training", {}))
    for free in ("evaluate_every", "checkpoint_every", "keep_checkpoints"):
        training.pop(free, None)
    return {**config, "training": training, "store": None, "tracking": None, "imports": None}


def _prepare_run_dir(config: TrainConfig, existing: str, process: Process) -> None:
    if not process.is_first:
        return
    run_dir = config.run_dir
    if existing == "overwrite":
        for name in ("checkpoints", *TRACKERS):
            shutil.rmtree(run_dir / name, ignore_errors=True)
        (run_dir / METRICS_FILE).unlink(missing_ok=True)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with atomic_write(run_dir / CONFIG_FILE) as temporary:
            temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"output={run_dir} cannot be written ({error.strerror}); choose another directory"
        ) from None
