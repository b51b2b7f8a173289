"""The achieved pruning ratio of a run, compared with the configured one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadp_dist.selection import PruningConfig

CLEAR = 0.02
"""Differences of ratios above this are reported as a warning."""


def ratios(pruning: PruningConfig, totals: Mapping[str, float], dataset_size: int) -> dict[str, Any]:
    """Return the configured, the scheduled and the achieved pruning ratio, without tracking.

    The achieved ratio is the share of K epochs of full data that the run skipped. The scheduled ratio is the
    mean of the schedule: r, or r + (r_max - r) / K with Eq. 42 as written. A method without a ratio has None
    for both. "ratio_reason" says why the achieved ratio is another one; None if it is the same to 0.1 %.

    Args:
        pruning: of the run.
        totals: number of "examples" trained on, and of "tracking_examples" among them; if the run was
            extended, "extended_from", its earlier number of epochs.
        dataset_size: N.
    """
    kept = totals["examples"] - totals.get("tracking_examples", 0)
    found: dict[str, Any] = {
        "asked_ratio": pruning.rule.asked_ratio,
        "planned_ratio": None if pruning.rule.asked_ratio is None else pruning.planned_ratio,
        "achieved_ratio": 1 - kept / (dataset_size * pruning.epochs),
    }
    return {**found, "ratio_reason": _reason(pruning, found, totals.get("extended_from"), dataset_size)}


def ratios_in_words(summary: Mapping[str, Any]) -> str:
    """Return the achieved and the configured ratio of a summary in words, with the reason if they differ."""
    asked, achieved = summary["asked_ratio"], summary["achieved_ratio"]
    said = f"left out {achieved:.1%} of all examples of all epochs"
    if asked is None:
        return said
    reason = summary.get("ratio_reason")  # older runs have none
    return f"{said}, asked for {asked:.1%}" + (f": {reason}" if reason else "")


def differ_clearly(summary: Mapping[str, Any]) -> bool:
    """Return whether the achieved ratio differs clearly from the configured and the scheduled one."""
    asked, planned, achieved = (summary.get(f"{name}_ratio") for name in ("asked", "planned", "achieved"))
    return asked is not None and all(
        abs(ratio - achieved) > CLEAR for ratio in (asked, planned) if ratio is not None
    )


def _reason(
    pruning: PruningConfig, found: Mapping[str, Any], extended_from: float | None, dataset_size: int
) -> str | None:
    """Return the largest reason for the difference of the achieved from the configured ratio."""
    asked, planned, achieved = (found[f"{name}_ratio"] for name in ("asked", "planned", "achieved"))
    if asked is None or f"{asked:.1%}" == f"{achieved:.1%}":
        return None
    N, epochs, rule = dataset_size, pruning.epochs, pruning.rule
    sizes = sum(round((1 - rule.ratio(epoch)) * N) for epoch in range(rule.epochs))
    rounded = 1 - sizes / (N * epochs)
    parts = {
        _of_schedule(pruning, planned): planned - asked,
        f"S is rounded to whole examples of N = {N:,}": rounded - planned,
        _of_draws(pruning, extended_from): achieved - rounded,
    }
    return max(parts, key=lambda reason: abs(parts[reason]))


def _of_schedule(pruning: PruningConfig, planned: float) -> str:
    K, run = pruning.epochs, pruning.rule.epochs
    if pruning.schedule == "paper" and pruning.max_ratio is not None and run == K:
        return f"the mean of Eq. 42 as written is r + (r_max - r) / K = {planned:.1%} for K = {K}"
    if run != K:
        return f"(1 - r) K = {(1 - pruning.ratio) * K:g} epochs are rounded to {run}"
    return f"the mean of the schedule of method={pruning.method!r} is {planned:.1%} for K = {K}"


def _of_draws(pruning: PruningConfig, extended_from: float | None) -> str:
    if extended_from is not None:
        return f"the first epochs had the schedule of a run of {extended_from:g} epochs, before --extend"
    if pruning.scheme == "bernoulli":
        return "scheme='bernoulli' draws a random number of examples"
    return f"method={pruning.method!r} decides by the scores how many examples it leaves out"
