"""Formats numbers for charts and tables."""

from __future__ import annotations


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def thousands(value: float) -> str:
    return f"{value:,.0f}"


def whole(value: float) -> str:
    return f"{value:g}"


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def time_unit(seconds: float) -> tuple[str, float]:
    """Return a suitable unit for a time, and the length of a second in that unit."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 3 * size:
            return unit, 1 / size
    return "seconds", 1.0
