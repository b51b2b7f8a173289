"""Prints a result, and writes it as JSON, Markdown and SVG."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from sadp_dist.errors import UsageError
from sadp_dist.report.chart import STYLE, Chart
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.result import Result, ResultTable
from sadp_dist.terminal import Console


def show(result: Result, console: Console) -> None:
    """Print the tables, or the numbers of the charts if there are no tables."""
    for table in result.tables:
        headings, rows = table.shown()
        _print(console, table.title, headings, rows, table.note)
    for chart in () if result.tables else result.charts:
        _print(console, chart.title, chart.table.columns, chart.table.rows, chart.note)


def _print(
    console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], note: str
) -> None:
    shown = RichTable(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        shown.add_column(Text(heading), justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        shown.add_row(*map(Text, row))
    console.print(shown)
    if note:
        console.print(f"{note}\n", markup=False, highlight=False)


def write(
    result: Result, name: str, setting: ExperimentSetting, jobs: Sequence[Job], folder: Path
) -> list[Path]:
    """Write ``NAME.json``, ``NAME.md`` and an SVG of each chart, and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    files: dict[Path, str] = {folder / f"{chart.name}.svg": svg(chart) for chart in result.charts}
    files[folder / f"{name}.md"] = markdown(result, name, setting)
    plain = {
        "experiment": name,
        "scale": setting.scale,
        "seeds": list(setting.seeds),
        "machine": _machine(),
        "tables": [table.to_dict() for table in result.tables],
        "charts": [
            {
                "name": chart.name,
                "title": chart.title,
                "columns": list(chart.table.columns),
                "rows": [list(row) for row in chart.table.rows],
            }
            for chart in result.charts
        ],
        "runs": {job.name: job.command for job in jobs},
    }
    files[folder / f"{name}.json"] = json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--out {folder} cannot be written ({error.strerror}); choose another folder"
        ) from None
    return list(files)


def markdown(result: Result, name: str, setting: ExperimentSetting) -> str:
    """Return tables and charts as Markdown, below the command that created them."""
    lines = [f"    sadp-dist reproduce {name} --scale {setting.scale}\n"]
    for table in result.tables:
        lines.append(_markdown_table(table))
    for chart in result.charts:
        lines += [f"![{chart.title}. {chart.alt}]({chart.name}.svg)\n"]
        if chart.note:
            lines.append(f"{chart.title}. {chart.note}\n")
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(table: ResultTable) -> str:
    headings, rows = table.shown()
    rule = ["---"] + ["---:"] * (len(headings) - 1)
    lines = [f"| {' | '.join(row)} |" for row in (headings, rule, *rows)]
    note = [f"{table.note}\n"] if table.note else []
    return "\n".join([f"**{table.title}**\n", *lines, "", *note])


def svg(chart: Chart) -> str:
    """Return a chart as SVG with a white background; deterministic."""
    import io

    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        chart.figure().savefig(file, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _machine() -> dict[str, Any]:
    import torch

    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    packages = ("torch", "numpy", "spikingjelly")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        **gpu,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
