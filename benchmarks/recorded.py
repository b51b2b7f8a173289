"""The ratios that short runs gave when they were recorded, and whether one has become clearly worse since."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks.result import Ratio, Result

RECORDED = Path(__file__).with_name("recorded.json")
TRIES = 3


def record(results: Mapping[str, Result], path: Path = RECORDED) -> None:
    """Keep the ratios of these benchmarks; those of others stay as they were."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, result in results.items():
        kept[name] = {ratio.name: round(ratio.value, 4) for ratio in _compared(result)}
    path.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def compare(
    results: Mapping[str, Result],
    again: Callable[[str], Result],
    console: Console,
    path: Path = RECORDED,
) -> int:
    """Compare with what is recorded; a benchmark that looks worse is measured again before that counts.

    Args:
        results: of short runs, by the benchmark's name.
        again: runs one again.
        console: where it says what is worse.
        path: of the recorded ratios.

    Returns:
        The exit status: 0, or 1 where a ratio is worse than recorded by more than its slack in every try.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    lost = 0
    for name, result in results.items():
        worse = _worse(result, kept.get(name, {}))
        for _ in range(TRIES - 1):
            if not worse:
                break
            still = _worse(again(name), kept.get(name, {}))
            worse = {ratio: line for ratio, line in still.items() if ratio in worse}
        for line in worse.values():
            console.print(f"benchmarks: {name}: {line}")
        lost += len(worse)
    if lost:
        console.print("benchmarks: if that is meant to be: python -m benchmarks --short --record")
    else:
        compared = sum(len(_compared(result)) for result in results.values())
        console.print(f"benchmarks: {compared} ratios, none clearly worse than recorded")
    return 1 if lost else 0


def _worse(result: Result, kept: Mapping[str, float]) -> dict[str, str]:
    lines = {}
    for ratio in _compared(result):
        if ratio.name not in kept:
            lines[ratio.name] = f"{ratio.name} is not recorded"
        elif ratio.loss(kept[ratio.name]) > (ratio.slack or 1):
            lines[ratio.name] = (
                f"{ratio.name} is {ratio.value:.3g}, recorded {kept[ratio.name]:.3g}; "
                f"worse than that by more than {ratio.slack:g} times"
            )
    return lines


def _compared(result: Result) -> list[Ratio]:
    return [ratio for ratio in result.ratios if ratio.slack is not None]
