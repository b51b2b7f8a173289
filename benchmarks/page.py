"""Show a result as tables on the terminal, and as docs/benchmarks.md with plots and JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.result import Cell, Plot, Ratio, Result, Table

TOP = """# Benchmarks

This page is written by `python -m benchmarks`, which measures speed and memory. Each section names the
command that measures it again and the machine that measured it.

- Programs that are compared take turns within one run. Figures are medians, unless their column says
  otherwise.
- Compare ratios, not seconds: a ratio divides two figures of the same run and depends less on the machine.
- N is the number of examples in the dataset, T the number of time steps, r the pruning ratio. N = 1,281,167
  is the size of ImageNet.
- A *plan* holds the examples of an epoch in their order, with their weights. A *shard* is a rank's part of
  it.
- *Turnover* is the time from the last push of scores in an epoch to the first index of the next epoch.
- In the last table of a section, *goal* is the bound that this project promises.
"""


def show(result: Result, console: Console) -> None:
    """Print a result's tables."""
    for table in [*result.tables, ratios_table(result.ratios)]:
        if not table.rows:
            continue
        shown = RichTable(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD)
        for number, column in enumerate(table.columns):
            shown.add_column(Text(column), justify="right" if number else "left")
        for row in table.rows:
            shown.add_row(*(Text(text_of(cell)) for cell in row))
        console.print(shown)
        if table.note:
            console.print(table.note + "\n", markup=False, highlight=False)


def write_page(page: Path, folder: Path, descriptions: Mapping[str, str]) -> None:
    """Write the page of all results in a folder (NAME.json), and draw their plots beside them.

    Args:
        page: the Markdown file.
        folder: the folder of the results, below the page's folder.
        descriptions: the title of each benchmark by name, in the order of the page. Lines after the title
            describe what is measured.
    """
    lines = [TOP]
    for name, description in descriptions.items():
        kept = folder / f"{name}.json"
        if not kept.exists():
            continue
        result = Result.from_dict(json.loads(kept.read_text(encoding="utf-8")))
        facts = ", ".join(f"{key} {value}" for key, value in result.machine.items())
        title, _, what = description.partition("\n")
        lines += [f"## {title.rstrip('.')}\n", *([f"{what.strip()}\n"] if what.strip() else [])]
        lines += [f"    python -m benchmarks {name}\n", f"{facts}\n"]
        for plot in result.plots:
            drawn = folder / f"{plot.name}.svg"
            drawn.write_text(draw(plot), encoding="utf-8")
            lines.append(f"![{plot.title}]({folder.relative_to(page.parent) / drawn.name})\n")
        lines += [markdown(table) for table in [*result.tables, ratios_table(result.ratios)] if table.rows]
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def ratios_table(ratios: Sequence[Ratio]) -> Table:
    """Return a table of the ratios and their goals."""
    rows: list[Sequence[Cell]] = []
    for ratio in ratios:
        sign = ">=" if ratio.better == "higher" else "<="
        met = {None: "", True: "met", False: "missed"}[ratio.met]
        rows.append([ratio.name, ratio.value, "" if ratio.goal is None else f"{sign} {ratio.goal:g}", met])
    return Table("Ratios and goals", ["ratio", "measured", "goal", "result"], rows)


def markdown(table: Table) -> str:
    """Return a table as GitHub Markdown."""
    rule = ["---"] + ["---:"] * (len(table.columns) - 1)
    rows = [table.columns, rule, *(list(map(text_of, row)) for row in table.rows)]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"**{table.title}**\n", *lines, "", *([table.note, ""] if table.note else [])])


def text_of(cell: Cell) -> str:
    """Return a cell as text."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def draw(plot: Plot) -> str:
    """Return a plot as SVG; the same points give the same bytes."""
    import io

    import matplotlib

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for (name, points), marker in zip(plot.lines.items(), "osD^vPX*<>h" * 9, strict=False):
        axes.plot(*zip(*points, strict=True), label=name, marker=marker, markersize=4)
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    axes.set_xscale("log" if plot.log_x else "linear")
    axes.set_yscale("log" if plot.log_y else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "sadp_dist"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"
