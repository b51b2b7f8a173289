"""The metrics of a run, JSON lines in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import CannotWrite
from sadp_dist.training.trackers.following import Follower

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Writes records to ``metrics.jsonl``, one JSON object per line, and the numbers of epochs to trackers.

    Args:
        run_dir: the run directory.
        followers: the trackers' loggers, which are closed with the log.
    """

    def __init__(self, run_dir: Path, followers: Sequence[Follower] = ()) -> None:
        self._path = run_dir / METRICS_FILE
        self._file = self._path.open("ab", buffering=0)
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
        """Append a record.

        Raises:
            CannotWrite: such as on a full disk.
        """
        # JSON has no NaN and infinity.
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        line = (json.dumps(plain, allow_nan=False) + "\n").encode()
        try:
            while line:  # a disk that is almost full takes a part
                line = line[self._file.write(line) :]
        except OSError as error:
            raise CannotWrite(
                f"{self._path} cannot be written ({error.strerror}); mend that, and continue with --resume"
            ) from error
        if record["event"] == "epoch":
            for follower in self._followers:
                follower.log(record["epoch"] + 1, figures_in(record))


def figures_in(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of an epoch's record, without the epoch."""
    return {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and math.isfinite(value) and key != "epoch"
    }


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Return the records of a run, without an incomplete last line."""
    records = []
    for line in (run_dir / METRICS_FILE).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def rewind_metrics(run_dir: Path, before_epoch: int) -> None:
    """Delete the records from ``before_epoch`` on: a resumed run writes them again."""
    path = run_dir / METRICS_FILE
    if not path.exists():
        return
    kept = [r for r in read_metrics(run_dir) if r["event"] == "epoch" and r["epoch"] < before_epoch]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
