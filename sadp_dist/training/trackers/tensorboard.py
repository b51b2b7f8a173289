"""TensorBoard: files in the run's directory."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from sadp_dist.training.trackers import TrackedRun


class TensorBoard:
    """Writes to ``tensorboard/``."""

    def __init__(self, run: TrackedRun) -> None:
        # What an earlier try of the run wrote from this epoch on is hidden.
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.first_epoch)  # type: ignore[no-untyped-call]

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)  # type: ignore[no-untyped-call]

    def close(self, failed: bool) -> None:
        self._writer.close()  # type: ignore[no-untyped-call]


open_tracker = TensorBoard
