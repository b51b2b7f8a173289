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
from sadp_dist.reproduce.score_noise import measured_along
from sadp_dist.selection import selection_probabilities
from sadp_dist.selection.plan import known_and_probabilities
from sadp_dist.store import open_snapshot
from sadp_dist.store.backends.saved import FILE_NAME, checkpoint_place
from sadp_dist.store.engine.snapshot import Snapshot
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
    epochs, variances, fresh = variances_of(job, examples=20)
    assert epochs == [2, 3] and fresh == []
    probe = Probe(job, 20)
    probe.at(probe.checkpoints[0])
    # p = 1/2: 1/N² Σ ‖g‖², of which 20 examples stand for N
    assert variances[0] == pytest.approx(np.mean(probe.norms() ** 2) / probe.dataset_size, rel=1e-3)
    probe.close()


def test_fresh_scores_are_compared_at_the_stored_ones_subset_size(trained):
    job = trained.job("cifar10", {**pruned("sadp", 0.5), "training.keep_checkpoints": 10}, 0)
    run_jobs([job], 1, QUIET)
    _, stored, fresh = variances_of(job, examples=20, fresh=True)
    probe = Probe(job, 20)
    probe.at(probe.checkpoints[0])
    norms, scores = probe.norms(), probe.gradient_scores("last")
    S = 20 * (1 - read_metrics(job.run_dir)[1]["ratio"])
    p = selection_probabilities(scores, S, 0.3)
    assert fresh[0] == pytest.approx(np.mean(norms**2 * (1 - p) / p) / probe.dataset_size, rel=1e-3)
    assert fresh[0] != pytest.approx(stored[0], rel=0.01)
    kept = open_snapshot(probe.checkpoints[0]).scores(probe.indices)
    seen = ~np.isnan(kept)
    np.testing.assert_array_equal(probe.stored_scores()[seen], kept[seen])
    assert (probe.stored_scores()[~seen] == pytest.approx(kept[seen].mean())) and 0 < seen.sum() < 20
    probe.close()


def test_the_noise_ratio_is_that_of_the_plan_of_the_next_epoch(trained):
    kept = {"training.keep_checkpoints": 10, "data.augment": "crop", "data.padding": 1}
    rule = {"pruning.method": "sadp-plus", "pruning.ratio": 0.5, "pruning.scheme": "carried"}
    even, chosen = (
        trained.job("cifar10", {**rule, **kept, "pruning.min_probability": b}, 0) for b in (1.0, 0.1)
    )
    run_jobs([even, chosen], 1, QUIET)
    measured = measured_along(even, 20)
    assert [m.share for m in measured] == pytest.approx([1 / 3, 2 / 3])
    assert [m.noise_ratio for m in measured] == pytest.approx([1, 1])  # p = S / N

    probe = Probe(chosen, 20)
    after_two = next(c for c in probe.checkpoints if checkpoint_place(c) == (2, 0))
    probe.at(after_two)
    norms, plain = probe.norms(epoch=2), probe.norms()
    assert not np.allclose(norms, plain)  # of the augmented examples
    snapshot = Snapshot.read(after_two / FILE_NAME)
    plan = snapshot.plans[-1]
    assert plan.epoch == 2  # a checkpoint at the end of an epoch has the plan of the next
    known, p = known_and_probabilities(snapshot.table, 2, chosen.config.pruning, plan)
    np.testing.assert_allclose(plan.importance, plan.subset_size / (len(p) * p[plan.indices]), rtol=1e-6)
    scores = known.scores[probe.indices]
    last = measured_along(chosen, 20)[-1]
    assert last.correlation == pytest.approx(np.corrcoef(scores, norms)[0, 1], abs=1e-4)
    of_sample = p[probe.indices]
    expected = np.sum(norms**2 / of_sample) / np.sum(norms**2 * len(p) / plan.subset_size)
    assert last.noise_ratio == pytest.approx(expected, rel=1e-4) and expected != pytest.approx(1, abs=0.01)
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
