"""Print what the self-test of a GPU found, from docs/gpu/device.json; or the sentence about GPUs for a page.

    python docs/generate/gpu.py
    python docs/generate/gpu.py --sentence

device.json and rehearsal.json are records of `sadp-dist selftest --gpu --out docs/gpu`, the second with
--rehearse. Without device.json, nothing has run on a GPU. Each figure is beside that of a CPU: of the
rehearsal if it does not depend on sizes, or of a benchmark.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import measured

DEVICE, REHEARSAL = (Path(__file__).parents[1] / "gpu" / f"{name}.json" for name in ("device", "rehearsal"))
SIZELESS = ("relative error", "difference", "bits", "accuracy", "without a wait", "take a step")
"""Words in the names of the figures of correctness that mean the same at every size."""
BENCHMARKS = {
    ("cost of scores, spiking_resnet18", "last layer / no scores, step"): (
        "benchmarks/scoring_step.json > ratios > last layer / no scores, step > .3f"
    ),
    ("cost of scores, spiking_resnet18", "all layers / no scores, step"): (
        "benchmarks/scoring_step.json > ratios > all layers / no scores, step > .3f"
    ),
    ("cost of scores, spiking_resnet18", "last layer / no scores, memory"): (
        "benchmarks/training_memory.json > ratios > "
        "spiking_resnet18: peak of torch's memory, last layer / no scores > .3f"
    ),
    ("cost of scores, spiking_resnet18", "all layers / no scores, memory"): (
        "benchmarks/training_memory.json > ratios > "
        "spiking_resnet18: peak of torch's memory, all layers / no scores > .3f"
    ),
    ("cost of scores, Opacus beside", "Opacus / all layers, step"): (
        "benchmarks/gradient_norms.json > ratios > Opacus, true norms / all layers, step > .3f"
    ),
}
"""Figures that a benchmark measured at the same sizes on a CPU: (check, figure) -> source."""


def sentence() -> str:
    """Return what the pages say about GPUs."""
    record = _read(DEVICE)
    if record is None:
        return "Nothing has been measured on a GPU yet."
    states = [check["state"] for check in record["checks"]]
    failed = states.count("failed")
    passed = "passed" if failed == 0 else f"failed in {failed} of {len(states)} checks"
    return f"The self-test of a GPU {passed} on one {_figures(record)['machine']['device']}."


def markdown() -> str:
    """Return the record as tables, a line for each figure."""
    record, rehearsal = _read(DEVICE), _read(REHEARSAL)
    if record is None:
        lines = ["**Not run yet:** no GPU was available. The checks, as their rehearsal on a CPU ended:", ""]
        return "\n".join([*lines, *_states(rehearsal)])
    machine = "; ".join(f"{name}: {value}" for name, value in _figures(record)["machine"].items())
    lines = [f"Version {record['version']}, {record['seconds']:.0f} s. {machine}.", ""]
    return "\n".join([*lines, *_tables(record, rehearsal)])


def _states(rehearsal: dict[str, Any] | None) -> list[str]:
    if rehearsal is None:
        return []
    rows = ["| part | check | rehearsal |", "| --- | --- | --- |"]
    for check in rehearsal["checks"]:
        reason = f": {_cell(check['reason'])}" if check["reason"] else ""
        rows.append(f"| {check['part']} | {check['name']} | {check['state']}{reason} |")
    return rows


def _tables(record: dict[str, Any], rehearsal: dict[str, Any] | None) -> list[str]:
    of_cpu = {} if rehearsal is None else _figures(rehearsal, "correctness")
    lines, traces = [], []
    part = None
    for check in record["checks"]:
        if check["name"] == "machine":
            continue
        if check["part"] != part:
            part = check["part"]
            lines += ["", f"### {part.capitalize()}", ""]
            lines += ["| check | figure | GPU | CPU |", "| --- | --- | ---: | ---: |"]
        name = check["name"]
        if check["state"] != "ok":
            lines.append(f"| {name} | {check['state']}: {_cell(check['reason'])} | | |")
        for figure, value in check["figures"].items():
            if isinstance(value, list):
                value = " → ".join(f"{accuracy:.1%} ({seconds:.0f} s)" for seconds, accuracy in value)
            lines.append(f"| {name} | {figure} | {_shown(value)} | {_peer(of_cpu, name, figure)} |")
        if check["traceback"]:
            traces += ["", f"### Traceback of: {name}", "", "```text", check["traceback"].rstrip(), "```"]
    return [*lines, *traces]


def _peer(of_cpu: dict[str, dict[str, Any]], check: str, figure: str) -> str:
    if (check, figure) in BENCHMARKS:
        return measured.figure(BENCHMARKS[check, figure])
    value = of_cpu.get(check, {}).get(figure)
    comparable = any(word in figure for word in SIZELESS) and not isinstance(value, list)
    return _shown(value) if value is not None and comparable else ""


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _figures(record: dict[str, Any], part: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the figures of each check, or of each check of a part."""
    return {check["name"]: check["figures"] for check in record["checks"] if part in (None, check["part"])}


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


if __name__ == "__main__":
    print(sentence() if "--sentence" in sys.argv else markdown())
