"""What a run says about itself: JSON lines, and sums kept on the device."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from sadp_dist.atomic_write import atomic_write
from sadp_dist.training.trackers.following import Follower

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
    """Writes one JSON object a line to ``metrics.jsonl``, and has the trackers log the numbers of an epoch.

    Args:
        run_dir: of the run.
        followers: of the trackers; closed with the log.
    """

    def __init__(self, run_dir: Path, followers: Sequence[Follower] = ()) -> None:
        self._file = (run_dir / METRICS_FILE).open("a", encoding="utf-8")
        self._followers = followers

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        for follower in self._followers:
            follower.close(failed=kind is not None)

    def write(self, record: dict[str, Any]) -> None:
        # JSON has no NaN and no infinity.
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._file.write(json.dumps(plain, allow_nan=False) + "\n")
        self._file.flush()
        if record["event"] == "epoch":
            for follower in self._followers:
                follower.log(record["epoch"], figures_in(record))


def figures_in(record: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of an epoch's record, without that of the epoch."""
    return {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and math.isfinite(value) and key != "epoch"
    }


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
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
