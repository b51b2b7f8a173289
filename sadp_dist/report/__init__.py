"""Runs compared: one HTML file that needs nothing beside it, and its figures as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sadp_dist.errors import UsageError
from sadp_dist.report.class_chart import class_chart
from sadp_dist.report.hardest_examples import class_names, hardest_examples, training_images
from sadp_dist.report.page import Section, render
from sadp_dist.report.plan_charts import plan_charts
from sadp_dist.report.run_groups import group_runs
from sadp_dist.report.run_record import RunRecord, read_run, summary
from sadp_dist.report.score_charts import score_charts
from sadp_dist.report.training_charts import accuracy_charts, loss_charts, pruning_charts

__all__ = ["RunRecord", "read_run", "summary", "write_report"]

PAGE = "report.html"


def write_report(
    runs: Sequence[RunRecord], out: Path, images: str | None = None, split: str | None = None
) -> Path:
    """Compare runs with the first of them, on a page and in figures.

    Args:
        runs: at least one; those that differ in their seed alone are shown as one, mean and deviation.
        out: the folder for report.html and the PNG files; made where it is not there.
        images: the images trained on, as for `open_images`; by default each run's own, where they are at
            hand.
        split: sub-folder of `images`.

    Returns:
        The page.

    Raises:
        UsageError: `images` is not there or not what was trained on, or `out` cannot be written to.
    """
    groups = group_runs(runs)
    opened = None
    if images is not None:
        from sadp_dist.data import open_images

        opened = open_images(images, split)
        sizes = {run.dataset_size for run in runs if run.store is not None}
        if sizes and len(opened) not in sizes:
            raise UsageError(
                f"--images {images} holds {len(opened):,} images, but the runs were trained on "
                f"{', '.join(f'{size:,}' for size in sizes)}; give the source and split that were trained on"
            )
    names = class_names(opened) or _names_of_classes(runs)
    by_class = class_chart(groups, names)
    sections = [
        Section("accuracy", "Accuracy and what it cost", accuracy_charts(groups)),
        Section("loss", "Loss and pruning", [*loss_charts(groups), *pruning_charts(groups)]),
        Section("variance", "Variance and weights", plan_charts(groups)),
        Section("scores", "Scores", score_charts(groups)),
        Section("classes", "Classes", [] if by_class is None else [by_class]),
    ]
    hardest = hardest_examples(groups, opened)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for section in sections:
            for chart in section.charts:
                chart.save_png(out)
        for found in hardest:
            found.save_png(out)
        page = out / PAGE
        page.write_text(render(groups, sections, hardest), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written to ({error.strerror}); choose another") from None
    return page


def _names_of_classes(runs: Sequence[RunRecord]) -> list[str] | None:
    """From the first run whose images are at hand and have them."""
    for run in runs:
        if run.config["data"].get("loader") == "torch":  # a .beton has numbers alone
            with suppress(UsageError):
                return class_names(training_images(run))
    return None
