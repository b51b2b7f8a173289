"""Compares runs: writes a self-contained HTML page, and its figures as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sadp_dist.errors import UsageError
from sadp_dist.loading.shown_images import open_shown_images
from sadp_dist.report.class_chart import class_chart
from sadp_dist.report.hardest_examples import (
    TrainingImages,
    check_data,
    class_names,
    hardest_examples,
    training_images,
)
from sadp_dist.report.page import PageSection, render
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
    """Write report.html and its figures, which compare the runs with the first one.

    Args:
        runs: at least one. Runs that differ only in their seed are combined: mean and standard deviation.
        out: the folder for report.html and the PNG files; created if it does not exist.
        images: the training images, as for `open_images`, or a .beton file; by default those of each run, if
            they exist.
        split: subfolder of `images`.

    Returns:
        Path of the page.

    Raises:
        UsageError: `images` does not exist or is another dataset, or `out` cannot be written.
    """
    groups = group_runs(runs)
    opened = None
    if images is not None:
        opened = open_shown_images(images, split)
        problems = [_other_data(f"--images {images}", opened, run) for run in runs if run.store is not None]
        if problems and all(problems):
            raise UsageError(str(problems[0]))
    names = class_names(opened) or _names_of_classes(runs)
    by_class = class_chart(groups, names)
    sections = [
        PageSection("accuracy", "Accuracy and cost", accuracy_charts(groups)),
        PageSection("loss", "Loss and pruning", [*loss_charts(groups), *pruning_charts(groups)]),
        PageSection("variance", "Variance and weights", plan_charts(groups)),
        PageSection("scores", "Scores", score_charts(groups)),
        PageSection("classes", "Classes", [] if by_class is None else [by_class]),
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
        raise UsageError(f"--out {out} cannot be written ({error.strerror}); choose another folder") from None
    return page


def _names_of_classes(runs: Sequence[RunRecord]) -> list[str] | None:
    """Return the class names from the first run whose images are available."""
    for run in runs:
        with suppress(UsageError):
            if names := class_names(training_images(run)):
                return names
    return None


def _other_data(shown: str, images: TrainingImages, run: RunRecord) -> UsageError | None:
    """Return why images are not those of a run; None if they are."""
    try:
        check_data(images, run, shown)
    except UsageError as error:
        return error
    return None
