"""A run's figures as a person reads them."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

PERCENT = {"0": "min", "0.5": "median", "1": "max"}


def figures_table(figures: dict[str, Any]) -> Group:
    """What ``StoreStats.to_dict`` gives, in four groups, and the histogram."""
    table = Table(title=escape(f"run {figures['run']}"), title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right", overflow="fold")
    for group in (_examples, _plan, _scores, _store):
        for name, value in group(figures).items():
            table.add_row(name, escape(value))
        table.add_section()
    return Group(table, _histogram(figures["score_histogram"]))


def _examples(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "method": figures["method"],
        "dataset size N": show(figures["dataset_size"]),
        "seen": _with_share(figures["seen"], figures["dataset_size"]),
        "unseen": _with_share(figures["unseen"], figures["dataset_size"]),
    }


def _plan(figures: dict[str, Any]) -> dict[str, str]:
    if figures["epoch"] is None:
        return {"plan": "none yet"}
    floor = show(figures["floor"]) + (" (above S/N: every example has the same)" * figures["floor_in_force"])
    return {
        "planned epoch": show(figures["epoch"]),
        "pruning ratio r": show(figures["ratio"]),
        "subset size S": show(figures["subset_size"]),
        "drawn": show(figures["drawn"]),
        "capped at p = 1": show(figures["capped"]),
        "floor of p": floor,
        "smoothing γ": show(figures["gamma"]),
        "largest weight": show(figures["largest_weight"]),
        "effective sample size": show(figures["effective_sample_size"]),
    }


def _scores(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "score quantiles": _quantiles(figures["score_quantiles"]),
        "staleness, epochs": _quantiles(figures["staleness_quantiles"]),
        "mean staleness": show(figures["staleness_mean"]),
    }


def _store(figures: dict[str, Any]) -> dict[str, str]:
    rejected = ", ".join(f"{reason} {count:,}" for reason, count in figures["rejected_frames"].items())
    saved = figures["last_snapshot"]
    return {
        "pushes": f"{show(figures['pushes'])} ({show(figures['pushed_scores'])} scores)",
        "rejected pushes": show(figures["rejected_pushes"]),
        "rejected frames": rejected or "0",
        "received": decimal(figures["bytes_received"]),
        "memory": decimal(figures["memory_bytes"]),
        "shards": show(figures["shards"]),
        "planner": show(figures["planner"]),
        "ranks waited for": ", ".join(map(str, figures["waiting_ranks"])) or "none",
        "last snapshot": "-" if saved is None else f"{max(time.time() - saved, 0):,.0f} s ago",
    }


def show(value: Any) -> str:
    """A figure in at most six digits, with thousands apart; "-" for what is not known."""
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _with_share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})"


def _quantiles(quantiles: dict[str, float] | None) -> str:
    if quantiles is None:
        return "-"
    names = [PERCENT.get(share, f"{float(share):.0%}") for share in quantiles]
    return "\n".join(f"{name} {value:>10.4g}" for name, value in zip(names, quantiles.values(), strict=True))


def _histogram(histogram: dict[str, Any], width: int = 40) -> Text:
    counts = histogram["counts"]
    if not any(counts):
        return Text(f"no scores above 0 yet, {histogram['zeros']:,} of 0", style="dim")
    lines = [
        f"{low:>10.3g} .. {high:<10.3g} {'█' * round(width * count / max(counts))} {count:,}"
        for low, high, count in zip(histogram["edges"][:-1], histogram["edges"][1:], counts, strict=True)
    ]
    if histogram["zeros"]:
        lines.insert(0, f"{'0':>10}    {'':<10} {histogram['zeros']:,}")
    return Text("scores\n" + "\n".join(lines))
