"""Renders the report as one self-contained HTML file."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import yaml

from sadp_dist import __version__
from sadp_dist.report.chart import Chart, colour
from sadp_dist.report.hardest_examples import Hardest
from sadp_dist.report.number_format import percent, thousands, time_unit
from sadp_dist.report.run_groups import Group, Spread
from sadp_dist.report.run_record import RunRecord
from sadp_dist.terminal import visible


@dataclass(frozen=True)
class PageSection:
    """A section of the page with its charts. A section without charts is omitted."""

    anchor: str
    title: str
    charts: Sequence[Chart]


def render(groups: Sequence[Group], sections: Sequence[PageSection], hardest: Sequence[Hardest]) -> str:
    """Return the page's HTML. Names of runs and classes are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sadp_dist.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    runs = [run for group in groups for run in group.runs]
    page = environment.get_template("page.html").render(
        title=_title(groups),
        facts=_facts(runs),
        findings=_findings(groups),
        rows=[_row(group, groups[0]) for group in groups],
        several=len(groups) > 1,
        sections=[section for section in sections if section.charts],
        hardest=hardest,
        runs=runs,
        configuration=lambda run: yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
        version=__version__,
        written=time.strftime("%-d %B %Y, %H:%M %Z"),
    )
    return visible(page, lines=True)


def _data_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _title(groups: Sequence[Group]) -> str:
    if len(groups) == 1:
        return f"{groups[0].first.name}: {groups[0].label}"
    others = groups[1].label if len(groups) == 2 else f"{len(groups) - 1} other recipes"
    return f"{_capital(groups[0].label)} compared with {others}"


def _facts(runs: Sequence[RunRecord]) -> list[str]:
    """Return what all runs have in common, for the line below the title."""
    facts = []
    sizes = {run.dataset_size for run in runs} - {None}
    if len(sizes) == 1:
        facts.append(f"N = {sizes.pop():,} training examples")
    networks = {f"{run.config['network']['name']}, T = {run.config['network']['time_steps']}" for run in runs}
    facts += [f"network {network}" for network in networks if len(networks) == 1]
    epochs = {run.planned_epochs for run in runs}
    facts += [f"{count} epochs" for count in epochs if len(epochs) == 1]
    facts.append(f"{len(runs)} run{'s' if len(runs) > 1 else ''}")
    return facts


@dataclass(frozen=True)
class _Totals:
    """The final values of a group."""

    accuracy: Spread
    examples: float
    seconds: float


def _totals(group: Group) -> _Totals:
    def over(name: str) -> Spread:
        values = [run.last(name) for run in group.runs]
        return Spread.over([[math.nan if value is None else float(value)] for value in values])

    return _Totals(
        over("test_accuracy"), float(over("total_examples").mean[0]), float(over("total_seconds").mean[0])
    )


def _findings(groups: Sequence[Group]) -> list[str]:
    """Return a sentence for each group, which compares it with the first."""
    base, sentences = _totals(groups[0]), []
    for group in groups[1:]:
        totals = _totals(group)
        if not (math.isfinite(totals.examples) and math.isfinite(base.examples)):
            continue
        price = (
            f"with {_share(totals.examples, base.examples)} of the examples "
            f"and {_share(totals.seconds, base.seconds)} of the time"
        )
        difference = 100 * float(totals.accuracy.mean[0] - base.accuracy.mean[0])
        if math.isfinite(difference):
            than = "above" if difference >= 0 else "below"
            sentences.append(
                f"{_capital(group.label)}: test accuracy is {abs(difference):.2f} percentage points {than} "
                f"{groups[0].label}{_among_seeds(difference, totals, base)}, {price}."
            )
        else:
            sentences.append(f"{_capital(group.label)}: trained {price} of {groups[0].label}.")
    if sentences and not all(run.finished for group in groups for run in group.runs):
        sentences.append("Not every run is finished, so these numbers will change.")
    return sentences


def _among_seeds(difference: float, *totals: _Totals) -> str:
    """Return a remark if a difference is smaller than the deviation over seeds, else an empty string."""
    deviations = [100 * float(of_group.accuracy.sd[0]) for of_group in totals]
    if not all(map(math.isfinite, deviations)):
        return ""
    return " (less than one standard deviation over seeds)" if abs(difference) < max(deviations) else ""


def _row(group: Group, first: Group) -> dict[str, Any]:
    """Return a group's row of the table at the top."""
    totals, base = _totals(group), _totals(first)
    unit, per_second = time_unit(base.seconds if math.isfinite(base.seconds) else 0.0)
    mean, sd = float(totals.accuracy.mean[0]), float(totals.accuracy.sd[0])
    finished = sum(run.finished for run in group.runs)
    return {
        "label": group.label,
        "colour": colour(group.number),
        "seeds": ", ".join(str(run.seed) for run in group.runs),
        "accuracy": "-" if not math.isfinite(mean) else _with_deviation(mean, sd),
        "difference": "-" if group is first else _points(100 * (mean - float(base.accuracy.mean[0]))),
        "examples": thousands(totals.examples) if math.isfinite(totals.examples) else "-",
        "of_examples": _share(totals.examples, base.examples),
        "time": f"{totals.seconds * per_second:,.1f} {unit}" if math.isfinite(totals.seconds) else "-",
        "of_time": _share(totals.seconds, base.seconds),
        "unfinished": "" if finished == len(group.runs) else f"{finished} of {len(group.runs)} finished",
    }


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _with_deviation(mean: float, sd: float) -> str:
    return f"{100 * mean:.2f} ± {100 * sd:.2f} %" if math.isfinite(sd) else f"{100 * mean:.2f} %"


def _points(difference: float) -> str:
    return f"{difference:+.2f}".replace("-", "−") if math.isfinite(difference) else "-"


def _share(value: float, of: float) -> str:
    return percent(round(value / of, 4)) if of and math.isfinite(value) else "-"
