"""What a run has left out, beside what it was asked to: rules that go by the scores get what those give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadp_dist.selection import PruningConfig

CLEAR = 0.02
"""A difference of ratios that is told."""


def ratios(pruning: PruningConfig, totals: Mapping[str, float], dataset_size: int) -> dict[str, float | None]:
    """The pruning ratio asked for, None where there was none, and the one that was, for a run's summary.

    The latter is the share that is missing of K epochs of all data; tracking is no part of either. Between
    them is what the schedule comes to: with Eq. 42's, r + (r_max - r) / K.

    Args:
        pruning: of the run.
        totals: "examples" trained on, of which "tracking_examples" in tracking.
        dataset_size: N.
    """
    kept = totals["examples"] - totals.get("tracking_examples", 0)
    return {
        "asked_ratio": pruning.rule.asked_ratio,
        "planned_ratio": None if pruning.rule.asked_ratio is None else pruning.planned_ratio,
        "achieved_ratio": 1 - kept / (dataset_size * pruning.epochs),
    }


def ratios_in_words(summary: Mapping[str, Any]) -> str:
    """A summary's two ratios in a line."""
    asked, achieved = summary["asked_ratio"], summary["achieved_ratio"]
    said = f"left out {achieved:.1%} of all examples of all epochs"
    return said if asked is None else f"{said}, asked for {asked:.1%}"


def differ_clearly(summary: Mapping[str, Any]) -> bool:
    """Whether the ratio is neither the one asked for nor, by more than a little, the schedule's."""
    asked, planned, achieved = (summary.get(f"{name}_ratio") for name in ("asked", "planned", "achieved"))
    return asked is not None and all(
        abs(ratio - achieved) > CLEAR for ratio in (asked, planned) if ratio is not None
    )
