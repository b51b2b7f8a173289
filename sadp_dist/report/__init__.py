"""Compares runs: writes a self-contained HTML page, and its figures as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sadp_dist.errors import UsageError
from sadp_dist.report.class_chart import class_chart
from sadp_dist.report.hardest_examples import class_names, hardest_examples, training_images
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
        images: the training images, as for `open_images`; by default those of each run, if they exist.
        split: subfolder of `images`.

    Returns:
        Path of the page.

    Raises:
        UsageError: `images` does not exist or is another dataset, or `out` cannot be written.
    """
    groups = group_runs(runs)
    opened = None
    if images is not None:
        from sadp_dist.data import open_images

        opened = open_images(images, split)
        sizes = {run.dataset_size for run in runs if run.store is not None}
        if sizes and len(opened) not in sizes:
            raise UsageError(
                f"--images {images} holds {len(opened):,} images, but the runs trained on "
                f"{', '.join(f'{size:,}' for size in sizes)}; give the source and split that they trained on"
            )
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
        if run.config["data"].get("loader") == "torch":  # a .beton file has class numbers only
            with suppress(UsageError):
                return class_names(training_images(run))
    return None
