"""Record the ratios of short runs, and tell whether a ratio has become clearly worse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks.result import Ratio, Result

RECORDED = Path(__file__).with_name("recorded.json")
TRIES = 3
"""Runs whose median is recorded; and runs in all of which a ratio has to be worse."""


def record(results: Mapping[str, Sequence[Result]], path: Path = RECORDED) -> None:
    """Record the median of each ratio over several short runs; benchmarks that are not named keep theirs."""
    kept = _recorded(path)
    for name, runs in results.items():
        values: dict[str, list[float]] = {}
        for result in runs:
            for ratio in _compared(result):
                values.setdefault(ratio.name, []).append(ratio.value)
        kept[name] = {ratio: float(f"{median(measured):.4g}") for ratio, measured in values.items()}
    path.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def compare(
    results: Mapping[str, Result],
    again: Callable[[str], Result],
    console: Console,
    path: Path = RECORDED,
) -> int:
    """Compare with the recorded ratios; a benchmark that looks worse is measured again.

    Args:
        results: results of short runs, by the benchmark's name.
        again: runs a benchmark again.
        console: prints what is worse.
        path: the file of the recorded ratios.

    Returns:
        The exit status. It is 1 if a ratio is worse than recorded by more than its slack in every try, or has
        no record; otherwise 0.
    """
    recorded = _recorded(path)
    lines: list[str] = []
    for name, result in results.items():
        kept = recorded.get(name, {})
        lines += [f"{name}: {r.name} is not recorded" for r in _compared(result) if r.name not in kept]
        worse = _worse(result, kept)
        for _ in range(TRIES - 1):
            if not worse:
                break
            still = _worse(again(name), kept)
            worse = {ratio: still[ratio] for ratio in worse if ratio in still}
        lines += [f"{name}: {line}" for line in worse.values()]
    if lines:
        lines.append("if that is meant to be: python -m benchmarks --short --record")
    else:
        lines = [
            f"{sum(len(_compared(r)) for r in results.values())} ratios, none clearly worse than recorded"
        ]
    for line in lines:
        console.print(f"benchmarks: {line}", markup=False, highlight=False, soft_wrap=True)
    return 1 if len(lines) > 1 else 0


def _recorded(path: Path) -> dict[str, dict[str, float]]:
    kept: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return kept


def _worse(result: Result, kept: Mapping[str, float]) -> dict[str, str]:
    """Return a line for each ratio that is clearly worse; NaN counts as worse."""
    return {
        ratio.name: f"{ratio.name} is {ratio.value:.3g}, recorded {kept[ratio.name]:.3g}: "
        f"worse by more than {ratio.slack:g} times"
        for ratio in _compared(result)
        if ratio.name in kept and not ratio.loss(kept[ratio.name]) <= (ratio.slack or 1)
    }


def _compared(result: Result) -> list[Ratio]:
    return [ratio for ratio in result.ratios if ratio.slack is not None]
