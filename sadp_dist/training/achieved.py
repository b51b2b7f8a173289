"""The achieved pruning ratio of a run, compared with the configured one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadp_dist.selection import PruningConfig

CLEAR = 0.02
"""Differences of ratios above this are reported."""


def ratios(pruning: PruningConfig, totals: Mapping[str, float], dataset_size: int) -> dict[str, float | None]:
    """Return the configured, the scheduled and the achieved pruning ratio, without tracking.

    The achieved ratio is the share of K epochs of full data that the run skipped. The scheduled ratio is the
    mean of the schedule: r + (r_max - r) / K with Eq. 42. A method without a ratio has None for both others.

    Args:
        pruning: of the run.
        totals: number of "examples" trained on, and of "tracking_examples" among them.
        dataset_size: N.
    """
    kept = totals["examples"] - totals.get("tracking_examples", 0)
    return {
        "asked_ratio": pruning.rule.asked_ratio,
        "planned_ratio": None if pruning.rule.asked_ratio is None else pruning.planned_ratio,
        "achieved_ratio": 1 - kept / (dataset_size * pruning.epochs),
    }


def ratios_in_words(summary: Mapping[str, Any]) -> str:
    """Return the achieved and the configured ratio of a summary in words."""
    asked, achieved = summary["asked_ratio"], summary["achieved_ratio"]
    said = f"left out {achieved:.1%} of all examples of all epochs"
    return said if asked is None else f"{said}, asked for {asked:.1%}"


def differ_clearly(summary: Mapping[str, Any]) -> bool:
    """Return whether the achieved ratio differs clearly from the configured and the scheduled one."""
    asked, planned, achieved = (summary.get(f"{name}_ratio") for name in ("asked", "planned", "achieved"))
    return asked is not None and all(
        abs(ratio - achieved) > CLEAR for ratio in (asked, planned) if ratio is not None
    )
