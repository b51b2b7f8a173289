"""Runs the parts of the self-test within their budgets, and writes the record after every check."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sadp_dist import __version__
from sadp_dist.atomic_write import atomic_write
from sadp_dist.selftest.part import PARTS, Part
from sadp_dist.selftest.setting import DEVICE, REHEARSAL, Setting
from sadp_dist.selftest.worker import Outcome, Worker

OF_ALL = 10.0
"""Minutes for which the parts' shares are given."""
LEAST = 2.0
"""Seconds that have to be left for a check to begin."""
Shown = Callable[[str, str, Outcome], None]


def run_parts(
    *,
    rehearse: bool,
    minutes: float,
    data: Path | None,
    out: Path,
    shown: Shown,
    parts: Sequence[Part] = PARTS,
) -> dict[str, Any]:
    """Run the parts, and return the record, which is also in ``out``.

    Args:
        rehearse: run on the CPU with tiny sizes.
        minutes: for everything.
        data: folder with cifar10.zip, or None.
        out: an existing folder, for the record and the log.
        shown: called with part, check and outcome after each check.
        parts: to run, in this order.

    Returns:
        The record: "version", "rehearsal", "minutes", "seconds" and "checks", a list with "part", "name",
        "state", "seconds", "figures", "reason" and "traceback".
    """
    started = time.monotonic()
    name = record_name(rehearse)
    record: dict[str, Any] = {"version": __version__, "rehearsal": rehearse, "minutes": minutes}
    record |= {"seconds": 0.0, "checks": []}
    log = out / f"{name}.log"
    log.unlink(missing_ok=True)
    worker = Worker(log)

    def keep(part: str, check: str, outcome: Outcome) -> None:
        record["checks"].append({"part": part, "name": check, **asdict(outcome)})
        record["seconds"] = time.monotonic() - started
        with atomic_write(out / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        shown(part, check, outcome)

    kind, sizes = ("cpu", REHEARSAL) if rehearse else ("cuda", DEVICE)
    ends = started
    try:
        with tempfile.TemporaryDirectory() as folder:
            for part in parts:
                ends += 60 * part.minutes * minutes / OF_ALL
                for check in part.checks:
                    left = ends - time.monotonic()
                    if left < LEAST:
                        keep(part.name, check.name, Outcome("cut", reason="not run: no time is left"))
                        continue
                    setting = Setting(kind, sizes, Path(tempfile.mkdtemp(dir=folder)), data)
                    limit = check.seconds * max(minutes / OF_ALL, 1.0)
                    keep(part.name, check.name, worker.run(check, setting, min(left, limit)))
    finally:
        worker.close()
    return record


def record_name(rehearse: bool) -> str:
    """Return the name of the record's file, without its suffix."""
    return "rehearsal" if rehearse else "device"
