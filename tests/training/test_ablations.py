"""SADP less one of its parts, as in the paper's Table VI: three settings, with no rule of their own."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from sadp_dist.selection import plan_epoch
from sadp_dist.store import open_snapshot
from sadp_dist.training import load_config, parse_config, read_metrics, train
from tests.selection.exact import exact_probabilities

SCORES = np.random.default_rng(0).lognormal(sigma=1.5, size=300)
LABELS = np.arange(300) % 10


def test_without_the_spike_aware_score_it_goes_by_the_loss(recipe):
    raw = recipe(scoring={"score": "loss"}, training={"epochs": 1}, pruning={"max_ratio": None})
    config = parse_config(raw)
    train(config)
    (epoch,) = (record for record in read_metrics(config.run_dir) if record["event"] == "epoch")
    scores = open_snapshot(config.run_dir).scores(np.arange(1442))
    assert config.pruning.method == "sadp"
    assert np.count_nonzero(~np.isnan(scores)) == epoch["examples"] == 721
    # Without scores every weight is 1, so that the epoch's loss is the mean of what was pushed.
    assert np.nanmean(scores) == pytest.approx(epoch["loss"], rel=1e-5)


def test_without_the_schedule_every_epoch_has_the_mean_ratio(recipe):
    pruning = parse_config(recipe(pruning={"max_ratio": None}, training={"epochs": 7})).pruning
    assert [pruning.rule.ratio(epoch) for epoch in range(7)] == [0.5] * 7
    plans = [plan_epoch(SCORES, epoch, pruning, LABELS) for epoch in range(7)]
    assert {plan.subset_size for plan in plans} == {150}
    assert all(plan.report.gamma is not None and plan.report.gamma > 0 for plan in plans)


def test_without_smoothing_probabilities_are_those_of_the_scores_alone(recipe):
    pruning = parse_config(recipe(pruning={"min_probability": 0}, training={"epochs": 7})).pruning
    plan = plan_epoch(SCORES, 3, pruning, LABELS)
    assert plan.report.gamma == 0
    p = np.array(exact_probabilities(SCORES.tolist(), plan.subset_size))  # Eqs. 13-16
    assert p.min() < 0.3
    np.testing.assert_allclose(plan.weights, plan.subset_size / 300 / p[plan.indices], rtol=1e-9)


def test_each_is_a_setting_on_the_command_line(recipe, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(recipe()), encoding="utf-8")
    less = ["scoring.score=loss", "pruning.max_ratio=null", "pruning.min_probability=0"]
    config = load_config(path, less)
    assert (config.scoring.score, config.pruning.max_ratio, config.pruning.min_probability) == (
        "loss",
        None,
        0,
    )
    assert config.pruning.method == "sadp"
