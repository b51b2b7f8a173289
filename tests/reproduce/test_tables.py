"""Tables from runs whose figures are known: every figure is in its place, beside the paper's."""

import io
import json
import re
import statistics
from pathlib import Path

import pytest
from rich.console import Console

from sadp_dist.reproduce import EXPERIMENTS
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job_runner import run_jobs
from sadp_dist.reproduce.output import markdown, show, write
from sadp_dist.reproduce.published import FULL, TABLE_III, TABLE_VI, TABLE_VII_BETA, TABLE_VII_MAX_RATIO

CONFIGS = Path(__file__).parents[2] / "configs"
MORE = ("infobatch", 0.9)
"""A method that cannot leave out as much as it should."""


def figures_of(job):
    """Figures that tell a run by its seed, ratio and method."""
    pruning = job.config.pruning
    ratio = 0 if pruning.method == "full" else pruning.ratio
    accuracy = 0.9 - 0.2 * ratio - 0.001 * len(pruning.method) + 0.01 * job.seed
    more = 0.4 if (pruning.method, ratio) == MORE else 0
    return {
        "test_accuracy": accuracy
        - 0.05 * pruning.min_probability * (pruning.method != "full")
        + 0.1 * (pruning.max_ratio or 0),
        "total_examples": round(10_000 * (1 - ratio + more)),
        "total_seconds": 100.0 * (1 - ratio),
        "largest_weight": 2.0 + job.seed,
    }


def result_of(name, setting, write_runs, diverged=()):
    experiment = EXPERIMENTS[name]
    jobs = experiment.jobs(setting)
    write_runs([job for job in jobs if job.name not in diverged], figures_of)
    return experiment.result(setting, dict.fromkeys(diverged, "diverged: the loss is nan"))


@pytest.mark.parametrize(
    "name", ["table3", "table4", "table5", "table6", "table7", "figure3", "figure6", "pays", "curriculum"]
)
def test_everything_that_is_shown_says_small_scale_and_is_written(name, imagined, write_runs, tmp_path):
    result = result_of(name, imagined, write_runs)
    assert result.tables or result.charts
    for shown in (*result.tables, *result.charts):
        assert "small scale" in shown.title
    console = Console(record=True, width=200, file=io.StringIO())
    show(result, console)
    assert "small scale" in console.export_text()
    jobs = EXPERIMENTS[name].jobs(imagined)
    write(result, name, imagined, jobs, tmp_path / "out")
    text = (tmp_path / "out" / f"{name}.md").read_text()
    assert text == markdown(result, name, imagined)
    for chart in result.charts:
        assert f"({chart.name}.svg)" in text
        assert "<svg" in (tmp_path / "out" / f"{chart.name}.svg").read_text()
    plain = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert set(plain["runs"]) == {job.name for job in jobs}


def test_table_iii_has_the_mean_and_deviation_over_the_seeds_beside_the_papers(imagined, write_runs):
    result = result_of("table3", imagined, write_runs)
    headings, rows = result.tables[0].shown()
    assert headings[:5] == ["pruning ratio", "0%", "paper", "30%", "paper"]
    by_name = {row[0]: dict(zip(headings[1:], row[1:], strict=True)) for row in rows}
    assert rows[0][:3] == ["full data", "90.60 ± 1.00", "95.33 ± 0.04"]
    jobs = [job for job in EXPERIMENTS["table3"].jobs(imagined) if "sadp-r0.7" in job.name]
    values = [100 * figures_of(job)["test_accuracy"] for job in jobs]
    assert len(values) == 3
    assert by_name["SADP"]["70%"] == f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
    assert list(by_name) == [
        "full data", "Reduced Epoch", "Forgetting", "EL2N", "random pruning", "InfoBatch", "SADP",
    ]  # fmt: skip
    assert "93.65 ± 0.03" in str(rows[-1])
    assert [row[0] for row in rows if any(cell.endswith("*") for cell in row)] == ["InfoBatch"]
    assert by_name["InfoBatch"]["90%"].endswith("*")
    assert "*: trained on more" in result.tables[0].note
    _, shares = result.tables[1].shown()
    assert shares[-1] == ["SADP", *(f"{1 - r:.3f} ± 0.000" for r in (0.3, 0.5, 0.7, 0.9))]


def test_a_run_that_diverged_is_named_so_and_takes_no_part_in_the_mean(imagined, write_runs):
    jobs = [job for job in EXPERIMENTS["table7"].jobs(imagined) if job.config.pruning.min_probability == 0]
    one, *_ = (job.name for job in jobs)
    table = result_of("table7", imagined, write_runs, [one]).tables[0]
    assert str(table.rows["0"][0]).endswith("(1 diverged)")
    assert len(table.rows["0"][0].finite) == 2
    table = result_of("table7", imagined, write_runs, [job.name for job in jobs]).tables[0]
    assert str(table.rows["0"][0]) == "diverged"


def test_times_are_ratios_to_full_data_and_the_two_steps_add_up(imagined, write_runs):
    rows = dict((row[0], row[1:]) for row in result_of("figure3", imagined, write_runs).tables[0].shown()[1])
    assert rows["SADP"] == rows["lower bound"] == ["0.700", "0.500", "0.300"]
    table = result_of("table4", imagined, write_runs).tables[0]
    sadp = table.rows["SADP"]
    assert [cell.mean for cell in sadp[1::2]] == pytest.approx([65, 65, 0.65])
    assert sadp[4].mean == pytest.approx(130)
    assert sadp[5].paper.mean == 0.65


def test_a_done_run_is_not_trained_again(imagined, write_runs):
    jobs = EXPERIMENTS["figure6"].jobs(imagined)
    write_runs(jobs, figures_of)  # there are no images that anything could be trained on
    console = Console(record=True, file=io.StringIO())
    assert run_jobs(jobs, 2, console) == {}
    assert "6 of 6 runs are done" in console.export_text()


def test_figures_of_the_paper_are_as_it_has_them():
    assert str(FULL["cifar10"]) == "95.33 ± 0.04"
    assert str(TABLE_III["cifar10-dvs"]["forgetting", 0.7]) == "54.63 ± 2.74"
    assert str(TABLE_III["hardvs"]["el2n", 0.5]) == "46.14"
    assert str(TABLE_III["cifar100"]["infobatch", 0.3]) == "79.57 ± 0.12"
    for grid in TABLE_III.values():
        for (method, ratio), figure in grid.items():
            if method in ("random", "infobatch"):
                assert figure.mean < grid["sadp", ratio].mean
    shared = TABLE_III["cifar10"]["sadp", 0.5]
    assert shared == TABLE_VII_BETA[0.3] == TABLE_VII_MAX_RATIO[0.7]
    assert TABLE_VI["cifar100", 0.7]["SADP"] == TABLE_III["cifar100"]["sadp", 0.7]


def test_at_the_papers_scale_the_recipes_are_as_they_ship_with_table_iis_values(tmp_path):
    setting = ExperimentSetting("paper", (0,), tmp_path, tmp_path, CONFIGS)
    jobs = {job.name: job for name in ("table3", "table4") for job in EXPERIMENTS[name].jobs(setting)}
    found = set()
    for job in jobs.values():
        config, pruning = job.config, job.config.pruning
        if pruning.method == "sadp":
            assert re.match(r"(cifar|hardvs|imagenet)", job.name)
            found.add((pruning.ratio, pruning.min_probability, pruning.max_ratio))
            assert config.training.epochs in (10, 50, 100, 200)
    assert found == {(0.3, 0.35, 0.6), (0.5, 0.3, 0.7), (0.7, 0.2, 0.9), (0.9, 0.05, 1.0), (0.35, 0.25, 0.55)}
