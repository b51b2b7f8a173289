"""The terminal table of `sadp-dist stats`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from sadp_dist.terminal import escape, visible
from sadp_dist.time_saved import time_saved_in_words

if TYPE_CHECKING:
    from sadp_dist.store import EpochRecord

BAR_ROWS = 4
TRAINING = ("loss", "test_accuracy", "train_accuracy")
QUANTILE_NAMES = {"0": "min", "0.5": "median", "1": "max"}


def figures_table(figures: dict[str, Any], recorded: EpochRecord | None = None) -> Group:
    """Return the table of a run's statistics: its plan, its store and its scores.

    Args:
        figures: from ``StoreStats.to_dict``.
        recorded: the latest epoch for which training recorded metrics.
    """
    from sadp_dist.selection.score_quality import in_words  # not at the top: every command would load numba

    groups = Table.grid(padding=(0, 4, 0, 0))
    run = {**_examples(figures), **_plan(figures)}
    groups.add_row(_pairs(run), _pairs({**_store(figures), **_training(figures, recorded)}))
    said = in_words(figures["noise_ratio"])
    title = Text(f"run {visible(figures['run'])}" + ("" if said is None else f": {said}"), style="italic")
    return Group(title, groups, "", _quantiles(figures), "", _histogram(figures["score_histogram"]))


def show(value: Any) -> str:
    """Format a value with at most six digits and thousands separators; None is "-"."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def ago(moment: float | None) -> str:
    """Return how long ago a Unix time is, such as "5 min ago"; None is "-"."""
    if moment is None:
        return "-"
    seconds = max(time.time() - moment, 0)
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def epoch_of(epoch: int | None, epochs: int | None) -> str:
    """Return an epoch counted from 0 for a person, such as "21 of 30"; None is "-"."""
    if epoch is None:
        return "-"
    return f"{epoch + 1:,}" if epochs is None else f"{epoch + 1:,} of {epochs:,}"


def _examples(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "method": figures["method"],
        "dataset size N": show(figures["dataset_size"]),
        "seen": _with_share(figures["seen"], figures["dataset_size"]),
        "unseen": _with_share(figures["unseen"], figures["dataset_size"]),
    }


def _plan(figures: dict[str, Any]) -> dict[str, str]:
    floor = show(figures["floor"])
    return {
        "planned epoch": epoch_of(figures["epoch"], figures["epochs"]),
        "pruning ratio r": show(figures["ratio"]),
        "subset size S": show(figures["subset_size"]),
        "drawn": show(figures["drawn"]),
        "capped at p = 1": show(figures["capped"]),
        "floor of p": f"{floor}, all equal" if figures["floor_in_force"] else floor,
        "smoothing γ": show(figures["gamma"]),
        "largest weight": show(figures["largest_weight"]) + _power(figures["weight_exponent"]),
        "effective sample size": show(figures["effective_sample_size"]),
    }


def _power(exponent: float | None) -> str:
    return "" if exponent in (None, 1) else f", θ = {exponent:.2g}"


def _store(figures: dict[str, Any]) -> dict[str, str]:
    bad = ", ".join(f"{reason} {count:,}" for reason, count in figures["bad_frames"].items())
    rows = {
        "scores pushed": f"{figures['pushed_scores']:,} in {figures['pushes']:,} pushes",
        "rejected pushes": show(figures["rejected_pushes"]),
        "bad frames": bad or "0",
        "received": decimal(figures["bytes_received"]),
        "memory": decimal(figures["memory_bytes"]),
    }
    return rows | {
        "planner": show(figures["planner"]),
        "ranks waited for": show(figures["waiting_ranks"]),
        "last snapshot": ago(figures["last_snapshot"]),
        "mean staleness": show(figures["staleness_mean"]),
        "noise ratio η": show(figures["noise_ratio"]),
    }


def _training(figures: dict[str, Any], recorded: EpochRecord | None) -> dict[str, str]:
    rows = {}
    if figures["rank_epochs"]:
        rows["ranks at epoch"] = _ranks(figures["rank_epochs"])
    if recorded is not None:
        shown = [name for name in TRAINING if name in recorded.training] or list(recorded.training)
        for name in shown[:2]:
            rows[name.replace("_", " ")] = f"{recorded.training[name]:.4g} at epoch {recorded.epoch + 1}"
        if (saved := time_saved_in_words(recorded.training)) is not None:
            rows["time saved"] = saved
    return rows


def _ranks(epochs: list[int]) -> str:
    """Return the epoch of the most advanced rank, counted from 1, and the ranks behind it."""
    latest = max(epochs) + 1
    behind = [
        f"{rank} at {epoch + 1}" if epoch >= 0 else f"{rank} not yet"
        for rank, epoch in enumerate(epochs)
        if epoch + 1 < latest
    ]
    if not behind:
        return f"{latest}, all {len(epochs)}" if len(epochs) > 1 else f"{latest}"
    more = f" and {len(behind) - 3} more" if len(behind) > 3 else ""
    return f"{latest}; rank {', '.join(behind[:3])}{more}"


def _pairs(rows: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _with_share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})"


def _quantiles(figures: dict[str, Any]) -> Table | Text:
    if figures["score_quantiles"] is None:
        return Text("no scores yet", style="dim")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    shares = figures["score_quantiles"]
    for _ in shares:
        table.add_column(justify="right")
    table.add_row("", *(f"[dim]{QUANTILE_NAMES.get(share, f'{float(share):.0%}')}[/]" for share in shares))
    for name in ("score_quantiles", "staleness_quantiles"):
        values = figures[name].values()
        table.add_row(name.removesuffix("_quantiles"), *(f"{value:.4g}" for value in values))
    return table


def _histogram(histogram: dict[str, Any]) -> Text:
    """Draw a histogram over the logarithm of the score, two characters a bin, `BAR_ROWS` high."""
    counts = histogram["counts"]
    zeros = f"scores of 0: {histogram['zeros']:,}"
    if not any(counts):
        return Text(zeros if histogram["zeros"] else "", style="dim")
    eighths = [round(8 * BAR_ROWS * count / max(counts)) or (count > 0) for count in counts]
    rows = [
        "".join(2 * " ▁▂▃▄▅▆▇█"[min(max(height - 8 * row, 0), 8)] for height in eighths)
        for row in reversed(range(BAR_ROWS))
    ]
    low, high = (f"{edge:.3g}" for edge in (histogram["edges"][0], histogram["edges"][-1]))
    axis = f"{low}{high.rjust(2 * len(counts) - len(low))}  score, log scale"
    return Text("\n".join([f"{rows[0]}  {max(counts):,} at most", *rows[1:], f"{axis}; {zeros}"]))
