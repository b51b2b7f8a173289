"""Weights & Biases; its own environment variables (WANDB_API_KEY, WANDB_MODE, ...) say where and how."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sadp_dist.errors import MissingExtra
from sadp_dist.training.trackers import TrackedRun, kept_id

try:
    import wandb
except ImportError as error:
    raise MissingExtra("wandb", "wandb") from error


class WandB:
    """A run at Weights & Biases, under the configuration's project and name."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = wandb.init(
            project=run.project,
            name=run.name,
            config=run.config,
            dir=run.folder,
            id=kept_id(run, "wandb", lambda: secrets.token_hex(4)),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric="epoch")

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._run.log({"epoch": epoch, **figures})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


open_tracker = WandB
