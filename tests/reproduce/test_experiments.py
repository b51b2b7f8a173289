"""Each experiment on the digits: its runs are trained once, and its result says what the runs say."""

import json
import math

import numpy as np
import pytest
from rich.console import Console

from sadp_dist.reproduce import EXPERIMENTS
from sadp_dist.reproduce.experiment import summary_of
from sadp_dist.reproduce.output import show, write
from sadp_dist.reproduce.workers import run_jobs
from sadp_dist.training import read_metrics

pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)


def made(name, setting):
    experiment = EXPERIMENTS[name]
    jobs = experiment.jobs(setting)
    setting.prepare(jobs)
    return experiment.result(setting, run_jobs(jobs, 1, QUIET)), jobs


@pytest.mark.parametrize("name", ["table6", "table7", "figure1", "figure4", "figure5", "figure6", "table4"])
def test_an_experiment_gives_tables_and_figures_that_say_small_scale(name, setting, tmp_path):
    result, jobs = made(name, setting)
    assert result.tables or result.charts
    for shown in (*result.tables, *result.charts):
        assert "small scale" in shown.title
    write(result, name, setting, jobs, tmp_path)
    markdown = (tmp_path / f"{name}.md").read_text()
    for chart in result.charts:
        assert f"({chart.name}.svg)" in markdown
        assert (tmp_path / f"{chart.name}.svg").read_text().startswith("<?xml")
    plain = json.loads((tmp_path / f"{name}.json").read_text())
    assert set(plain["runs"]) == {job.name for job in jobs}
    show(result, QUIET)
