"""Real runs on the digits, and what is measured of their networks."""

import json
import math

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from sadp_dist.cli.main import app
from sadp_dist.reproduce import EXPERIMENTS
from sadp_dist.reproduce.correlations import SCORES
from sadp_dist.reproduce.experiment import Experiment, register
from sadp_dist.reproduce.gradient_probe import Probe
from sadp_dist.reproduce.gradient_variances import variances_of
from sadp_dist.reproduce.job_runner import run_jobs
from sadp_dist.reproduce.methods import FULL, pruned
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.training.metrics import read_metrics

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def full(trained):
    job = trained.job("cifar10", {**FULL, "training.epochs": 2}, 0)
    assert run_jobs([job], 1, QUIET) == {}
    return job


def test_true_norms_bound_those_of_a_layer_and_are_bounded_by_eq_29(full):
    probe = Probe(full, 20)
    norms, last = probe.norms(), probe.gradient_scores("last", exact=True)
    assert norms.shape == (20,)
    assert (norms >= last * (1 - 1e-5)).all()
    assert (probe.gradient_scores("last") >= last * (1 - 1e-5)).all()
    for name, score in SCORES.items():
        assert np.isfinite(score(probe)).all(), name
    assert 0 < probe.sparsity() < 1
    probe.close()


def test_the_variance_of_random_pruning_is_that_of_its_formula(trained):
    kept = {"training.keep_checkpoints": 10}
    job = trained.job("cifar10", {**pruned("random", 0.5), **kept}, 0)
    run_jobs([job], 1, QUIET)
    epochs, variances = variances_of(job, examples=20)
    assert epochs == [2, 3]
    probe = Probe(job, 20)
    probe.at(probe.checkpoints[0])
    # p = 1/2: 1/N² Σ ‖g‖², of which 20 examples stand for N
    assert variances[0] == pytest.approx(np.mean(probe.norms() ** 2) / probe.dataset_size, rel=1e-3)
    probe.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["figure1", "figure4", "figure5"])
def test_the_figures_that_look_at_networks_come_of_real_runs(name, trained, monkeypatch):
    for module in ("correlations", "gradient_variances"):
        monkeypatch.setattr(f"sadp_dist.reproduce.{module}.EXAMPLES", 12)
    experiment = EXPERIMENTS[name]
    result = experiment.result(trained, run_jobs(experiment.jobs(trained), 1, QUIET))
    assert len(result.charts) == 1
    for table in result.tables:
        for cells in table.rows.values():
            assert all(-1 <= cell.mean <= 1 for cell in cells)


def test_a_run_that_diverges_is_said_to_and_stops_nothing(trained):
    wild = trained.job("cifar10", {**FULL, "training.optimizer": "sgd", "training.learning_rate": 1e38}, 0)
    after = trained.job("cifar10", FULL, 0, after=wild)
    diverged = run_jobs([wild, after], 1, QUIET)
    assert set(diverged) == {wild.name, after.name}
    assert "training diverged" in diverged[wild.name]


@pytest.mark.slow
def test_a_new_table_is_one_class_and_its_runs_are_trained_in_processes_of_their_own(trained, tmp_path):
    @register("accuracies")
    class Accuracies(Experiment):
        title = "Accuracies"

        def jobs(self, setting):
            return [setting.job("cifar10", pruned("el2n", 0.5), seed) for seed in setting.seeds]

        def result(self, setting, diverged):
            found = [read_metrics(job.run_dir)[-1]["test_accuracy"] for job in self.jobs(setting)]
            return Result([ResultTable("Accuracies", "method", ["accuracy"], {"EL2N": [Cell(found)]})])

    try:
        where = ["--runs", trained.runs, "--configs", trained.recipes, "--out", tmp_path]
        arguments = ["reproduce", "accuracies", "--scale", "small", "--seeds", "0,1", "--jobs", 2, *where]
        done = CliRunner().invoke(app, [*map(str, arguments)])
        assert done.exception is None, done.output
    finally:
        del EXPERIMENTS["accuracies"]
    plain = json.loads((tmp_path / "accuracies.json").read_text())
    measured = plain["tables"][0]["rows"]["EL2N"][0]["measured"]
    assert len(measured) == 2
    assert all(math.isfinite(value) and value > 0.1 for value in measured)
    epochs = read_metrics(trained.runs / next(iter(plain["runs"])))
    assert [record.get("phase") for record in epochs[:3]] == ["tracking", "tracking", None]
