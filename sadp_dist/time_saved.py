"""The time that pruning has saved, against full data: one estimate, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping

SAVED, TOTAL = "total_saved_seconds", "total_seconds"
"""Figures of an epoch's record: saved so far, and spent on training so far."""


def seconds_saved(
    seconds: float, own_seconds: float, examples: int, dataset_size: int, usual: float
) -> float:
    """Return the seconds that an epoch saved: those of the examples left out, minus pruning's own cost.

    Args:
        seconds: that the epoch took.
        own_seconds: of them, for the plan and for scores.
        examples: trained on.
        dataset_size: N.
        usual: seconds per example of the epochs before, for an epoch without examples.
    """
    per_example = (seconds - own_seconds) / examples if examples else usual
    return per_example * (dataset_size - examples) - own_seconds


def time_saved_in_words(figures: Mapping[str, float]) -> str | None:
    """Return an estimate in words, such as "about 12.5 min of 40.0 min (31%)"; None without pruning.

    Args:
        figures: of the latest epoch that is done.
    """
    saved, spent = figures.get(SAVED), figures.get(TOTAL)
    if saved is None or spent is None:
        return None
    if saved < 0:
        return f"none, about {_duration(-saved)} more than with all examples"
    full = spent + saved
    share = f" ({saved / full:.0%})" if full > 0 else ""
    return f"about {_duration(saved)} of {_duration(full)}{share}"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"
