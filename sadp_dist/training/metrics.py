"""The metrics of a run, JSON lines in a file."""

from __future__ import annotations

import json
import math
import warnings
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
    """Return the records of a run. Other lines are skipped, with a warning that counts them."""
    records, skipped = parse_metrics(run_dir)
    if skipped:
        warnings.warn(f"{run_dir / METRICS_FILE}: {skipped_in_words(skipped)}", stacklevel=2)
    return records


def parse_metrics(run_dir: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a run, and the number of lines that are none, without an incomplete last one."""
    *lines, last = (run_dir / METRICS_FILE).read_bytes().split(b"\n")
    records, skipped = [], 0
    for line in lines:
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            skipped += 1
    if (record := _record(last)) is not None:
        records.append(record)
    return records, skipped


def skipped_in_words(count: int) -> str:
    return f"{count} {'line is no record' if count == 1 else 'lines are no records'}, skipped"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # also bytes that are no text
        return None
    if not isinstance(record, dict) or record.get("event") not in ("epoch", "end"):
        return None
    return record if isinstance(record.get("epoch"), int) else None


def rewind_metrics(run_dir: Path, before_epoch: int) -> None:
    """Delete the records from ``before_epoch`` on: a resumed run writes them again."""
    path = run_dir / METRICS_FILE
    if not path.exists():
        return
    kept = [r for r in read_metrics(run_dir) if r["event"] == "epoch" and r["epoch"] < before_epoch]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
