"""What a run says about itself: JSON lines, TensorBoard, and sums kept on the device."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

METRICS_FILE = "metrics.jsonl"


class DeviceSums:
    """Sums of loss, hits and examples that stay on the device; reading them late costs the step nothing.

    ``recent()`` returns the newest values that have already reached the host. On CUDA it starts a copy into
    pinned memory and hands out the one before, so that a progress bar never makes the device wait.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.total = torch.zeros(size, dtype=torch.float64, device=device)
        self._cuda = device.type == "cuda"
        self._host = torch.zeros(size, dtype=torch.float64, pin_memory=self._cuda)
        self._copied = torch.cuda.Event() if self._cuda else None
        self._values = [0.0] * size

    def add(self, *values: Tensor) -> None:
        self.total += torch.stack([value.to(self.total.dtype) for value in values])

    def recent(self) -> list[float]:
        if self._copied is None:
            return [float(value) for value in self.total]
        if self._copied.query():
            self._values = self._host.tolist()
            self._host.copy_(self.total, non_blocking=True)
            self._copied.record()
        return self._values


class MetricsLog:
    """Writes one JSON object a line to ``metrics.jsonl`` and the numbers in it to TensorBoard."""

    def __init__(self, run_dir: Path, first_epoch: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._file = (run_dir / METRICS_FILE).open("a", encoding="utf-8")
        # What an earlier try of the run wrote from this epoch on is hidden.
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first_epoch)  # type: ignore[no-untyped-call]

    def write(self, record: dict[str, Any]) -> None:
        # JSON has no NaN and no infinity.
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._file.write(json.dumps(plain, allow_nan=False) + "\n")
        self._file.flush()
        if record["event"] == "epoch":
            for name, value in record.items():
                if isinstance(value, int | float) and name != "epoch":
                    self._board.add_scalar(name, value, record["epoch"])  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._file.close()
        self._board.close()  # type: ignore[no-untyped-call]


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """All whole records of a run; a last line cut short by a kill is left out."""
    records = []
    for line in (run_dir / METRICS_FILE).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def rewind_metrics(run_dir: Path, before_epoch: int) -> None:
    """Keep the records of the epochs before ``before_epoch``; a resumed run writes the others again."""
    path = run_dir / METRICS_FILE
    if not path.exists():
        return
    kept = [r for r in read_metrics(run_dir) if r["event"] == "epoch" and r["epoch"] < before_epoch]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    os.replace(temporary, path)
