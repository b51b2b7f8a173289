"""A run directory from its configuration to its last record: what ``sadp-dist train`` does on every rank."""

from __future__ import annotations

import shutil
from typing import Any, Literal

import torch.distributed as dist
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import TrainConfig, first_difference
from sadp_dist.training.metrics import METRICS_FILE, MetricsLog, rewind_metrics
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer

CONFIG_FILE = "config.yaml"


def train(
    config: TrainConfig, existing: Literal["refuse", "resume", "overwrite"] = "refuse"
) -> dict[str, Any]:
    """Train one run, alone or as one rank of a torchrun job.

    The run directory then holds ``config.yaml`` (as it was run), ``metrics.jsonl``, ``tensorboard/`` and
    ``checkpoints/``.

    Args:
        config: the whole run.
        existing: what to do about a run that the directory already holds. "resume" goes on from its newest
        checkpoint,
            and starts from the beginning where there is none yet.

    Returns:
        the run's summary, also the last line of ``metrics.jsonl``.

    Raises:
        UsageError: something in the configuration cannot work, or the run directory holds another run.
    """
    with join_job() as process:
        _check_run_dir(config, existing, process)
        trainer = Trainer(config, process)  # raises what is wrong, before anything is written or thrown away
        log = None
        try:
            checkpoints = Checkpoints(config.run_dir, config.training.keep_checkpoints)
            resumed = existing == "resume" and trainer.resume(checkpoints)
            progress = Progress(config.name, config.training.epochs, enabled=process.is_first)
            if process.is_first:
                _prepare_run_dir(config, existing)
                if resumed:
                    progress.console.print(
                        f"going on at epoch {trainer.epoch + 1}, batch {trainer.batch + 1}"
                    )
                rewind_metrics(config.run_dir, before_epoch=trainer.epoch)
                log = MetricsLog(config.run_dir)
            with progress:
                record = trainer.run(checkpoints, log, progress)
            summary = {
                **record,
                "event": "end",
                "method": config.pruning.method,
                "world_size": process.world_size,
            }
            if log is not None:
                log.write(summary)
            return summary
        finally:
            trainer.store.close()
            if log is not None:
                log.close()


def _check_run_dir(config: TrainConfig, existing: str, process: Process) -> None:
    """Refuse a directory that holds another run; rank 0 looks, all ranks hear the answer."""
    problem: list[str | None] = [None]
    if process.is_first and existing != "overwrite" and (config.run_dir / METRICS_FILE).exists():
        problem = [_objection(config) if existing == "resume" else _taken(config)]
    if process.world_size > 1:
        dist.broadcast_object_list(problem, src=0)
    if problem[0] is not None:
        raise UsageError(problem[0])


def _taken(config: TrainConfig) -> str:
    ways = "add --resume to go on, --overwrite to begin anew, or set output=DIR"
    return f"{config.run_dir} already holds a run; {ways}"


def _objection(config: TrainConfig) -> str | None:
    """Why the run there cannot go on as configured; how often it reports and saves may change."""
    earlier = yaml.safe_load((config.run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    ours = config.to_dict()
    for free in ("evaluate_every", "checkpoint_every", "keep_checkpoints"):
        earlier["training"].pop(free, None)
        ours["training"].pop(free)
    difference = first_difference(earlier, ours)
    if difference is None:
        return None
    return f"{config.run_dir} was run with another configuration ({difference}); --resume needs the same one"


def _prepare_run_dir(config: TrainConfig, existing: str) -> None:
    run_dir = config.run_dir
    if existing == "overwrite":
        for name in ("checkpoints", "tensorboard"):
            shutil.rmtree(run_dir / name, ignore_errors=True)
        (run_dir / METRICS_FILE).unlink(missing_ok=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    (run_dir / CONFIG_FILE).write_text(text, encoding="utf-8")
