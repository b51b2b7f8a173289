"""Trains a run in its run directory, on every rank: ``sadp-dist train``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import yaml

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import UsageError
from sadp_dist.store.backends.saved import CHECKPOINTS
from sadp_dist.training.achieved import ratios
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.config_file import CONFIG_FILE
from sadp_dist.training.data_fingerprint import record_data, recorded_data
from sadp_dist.training.extension import extension_in_words, remove_shorter_run
from sadp_dist.training.metrics import METRICS_FILE, MetricsLog, read_metrics, rewind_metrics
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.progress import Progress
from sadp_dist.training.resume import (
    Existing,
    check_examples,
    check_run_dir,
    check_stages,
    earlier_run,
    existing_by_stage,
    is_done,
    is_longer,
)
from sadp_dist.training.run_lock import locked
from sadp_dist.training.trackers import TRACKERS, TrackedRun, find_trackers
from sadp_dist.training.trackers.following import Follower
from sadp_dist.training.trainer import Trainer


def train(
    config: TrainConfig,
    existing: Existing = "refuse",
    show: bool = True,
) -> dict[str, Any]:
    """Train one run, as a single process or as one rank of a torchrun job.

    It writes ``config.yaml``, ``data.json``, ``metrics.jsonl``, ``checkpoints/`` and a folder per tracker,
    such as ``tensorboard/``, to the run directory.

    Args:
        config: of the run.
        existing: what to do if the run directory already holds a run. "resume" continues from its newest
            checkpoint, or from the start if there is none. "extend" does the same with more epochs.
        show: print a line for each epoch.

    Returns:
        The run's summary, which is also the last line of ``metrics.jsonl``; empty on ranks other than 0.

    Raises:
        UsageError: the configuration cannot work, the run directory holds another run, or a job uses it.
        TrainingDiverged: the loss or a score is not finite.
        StoreUnavailable: the store can no longer be reached.
    """
    with join_job() as process, _locked([config], process):
        process.agree(lambda: check_run_dir(config, existing, process))
        trackers = process.agree(lambda: find_trackers(config.tracking.trackers if process.is_first else ()))
        resumes = existing in ("resume", "extend")
        earlier = process.agree(lambda: earlier_run(config)) if resumes else None
        if existing == "extend" and earlier is not None and process.is_first:
            remove_shorter_run(earlier, config)
        trainer = Trainer(config, process)  # reports errors before anything is written or deleted
        if earlier is not None:
            process.agree(lambda: _check_data(config, earlier, trainer))
        process.agree(lambda: _prepare_run_dir(config, existing, process))
        checkpoints = Checkpoints(config.run_dir, config.training.keep_checkpoints)
        resumed = resumes and trainer.resume(checkpoints)
        if process.is_first and (not resumed or recorded_data(config.run_dir) is None):
            record_data(config.run_dir, trainer.fingerprints)
        if not resumed:  # the store may hold the scores of an earlier job
            trainer.store.reset()
        shown, phases = show and process.is_first, trainer.phases
        progress = Progress(config.name, phases.epochs, enabled=shown, phases=phases)
        if not process.is_first:
            trainer.run(checkpoints, None, progress)
            trainer.store.close()
            return {}
        if shown and resumed and trainer.epoch < phases.epochs:
            if trainer.extended_from is not None:
                said = extension_in_words(config, trainer.extended_from, trainer.epoch)
                progress.console.print(said, markup=False, soft_wrap=True)
            progress.console.print(
                f"resuming at epoch {trainer.epoch + 1} of {phases.epochs}, batch {trainer.batch + 1}"
            )
        rewind_metrics(config.run_dir, before_epoch=trainer.epoch)
        tracked = TrackedRun(
            config.name, config.tracking.project, config.run_dir, config.to_dict(), trainer.epoch + 1
        )
        followers = [Follower(name, open_tracker, tracked) for name, open_tracker in trackers.items()]
        with MetricsLog(config.run_dir, followers) as log:
            with progress:
                trainer.run(checkpoints, log, progress)
            last = (read_metrics(config.run_dir) or [{"epoch": trainer.epoch - 1}])[-1]
            summary = {
                **last,
                "event": "end",
                "method": config.pruning.method,
                "world_size": process.world_size,
                **ratios(config.pruning, trainer.totals, trainer.data.size),
                **{
                    name: figure
                    for name, figure in trainer.totals.items()
                    if name.startswith(("tracking_", "extended_"))
                },
            }
            log.write(summary)
            progress.run_done(summary)
        trainer.store.close()
        return summary


def train_stages(stages: Sequence[TrainConfig], existing: Existing = "refuse") -> list[dict[str, Any]]:
    """Train the runs of a file in order. A resumed job skips the complete ones, except the last.

    Args:
        stages: from ``load_stages``; each has the one before it as its ``network.weights``.
        existing: for each run directory, as in ``train``.

    Returns:
        The summaries of the runs; each is empty on ranks other than 0.
    """
    summaries = []
    with join_job() as process, _locked(stages, process):
        of_stages = existing_by_stage(stages, existing)
        for config, of_stage in zip(stages, of_stages, strict=True):  # before the first of them starts
            process.agree(partial(check_run_dir, config, of_stage, process))
        if existing == "extend":
            process.agree(partial(check_stages, stages))
        for config, of_stage in zip(stages, of_stages, strict=True):
            resumes = existing in ("resume", "extend") and config is not stages[-1]
            skipped = process.is_first and resumes and is_done(config.run_dir) and not is_longer(config)
            done = torch.tensor(skipped)
            if process.sum(done.long()) > 0:
                summaries.append(read_metrics(config.run_dir)[-1] if process.is_first else {})
            else:
                summaries.append(train(config, of_stage))
    return summaries


@contextmanager
def _locked(stages: Sequence[TrainConfig], process: Process) -> Iterator[None]:
    """Hold the locks on the run directories, on rank 0."""
    with ExitStack() as locks:

        def lock() -> None:
            for config in stages if process.is_first else ():
                locks.enter_context(locked(config.run_dir))

        process.agree(lock)
        yield


def _check_data(config: TrainConfig, earlier: TrainConfig, trainer: Trainer) -> None:
    if trainer.process.is_first and recorded_data(config.run_dir) is not None:
        check_examples(config, earlier, trainer.data.fingerprints())


def _prepare_run_dir(config: TrainConfig, existing: str, process: Process) -> None:
    if not process.is_first:
        return
    run_dir = config.run_dir
    if existing == "overwrite":
        for name in (CHECKPOINTS, *TRACKERS):
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
