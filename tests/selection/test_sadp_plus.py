"""The parts of "sadp-plus", each against its definition, and the rule as a whole against SADP."""

from __future__ import annotations

import numpy as np
import pytest

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, ScoreTable, plan_epoch, selection_probabilities
from sadp_dist.selection.plan import EpochPlan, plan_table
from sadp_dist.selection.relative_scores import AVERAGE, TRUST
from sadp_dist.selection.weight_exponent import exponent_for, powered

N = 4000


def plus(**options: object) -> PruningConfig:
    return PruningConfig(
        **{"method": "sadp-plus", "ratio": 0.5, "epochs": 10, "weight_exponent": 1, **options}
    )


def train(table: ScoreTable, plan: EpochPlan, scores: np.ndarray, fall: float = 0.0) -> None:
    """Push an epoch's scores, which fall evenly to 1 - `fall` of themselves from its first to its last."""
    now = scores[plan.indices] * np.linspace(1, 1 - fall, plan.drawn)
    table.merge(plan.indices.astype(np.int64), now.astype(np.float32), plan.epoch)


def test_scores_of_a_network_that_improves_compare_after_all() -> None:
    truth = np.random.default_rng(1).lognormal(0, 0.5, N)
    config = plus(ratio=0.0)
    table = ScoreTable.empty(N, state=config.rule.arrays)
    first = plan_table(table, 0, config)
    train(table, first, truth, fall=0.8)
    plan_table(table, 1, config, first)
    assert np.corrcoef(np.log(table.scores), np.log(truth))[0, 1] < 0.9
    assert np.corrcoef(np.log(table.state[AVERAGE]), np.log(truth))[0, 1] > 0.99


def test_the_average_weighs_old_scores_less() -> None:
    rng = np.random.default_rng(2)
    config = plus(ratio=0.4, memory=0.5, min_probability=0.5)
    table = ScoreTable.empty(N, state=config.rule.arrays)
    taken: list[list[tuple[int, float]]] = [[] for _ in range(N)]
    last = None
    for epoch in range(5):
        last = plan_table(table, epoch, config, last)
        scores = rng.lognormal(0, 1, N).astype(np.float32)
        train(table, last, scores)
        mean = float(np.average(scores[last.indices], weights=last.weights))
        for i in last.indices.tolist():
            taken[i].append((epoch, float(scores[i]) / mean))
    plan_table(table, 5, config, last)
    for i in range(0, N, 50):
        weights = np.array([0.5 ** (4 - epoch) for epoch, _ in taken[i]])
        assert table.state[TRUST][i] == pytest.approx(weights.sum(), rel=1e-5)
        if taken[i]:
            average = weights @ np.array([score for _, score in taken[i]]) / weights.sum()
            # A window's mean differs from that of the epoch by the chance of about 500 scores.
            assert table.state[AVERAGE][i] == pytest.approx(average, rel=0.3)


def test_with_memory_0_the_last_score_decides() -> None:
    rng = np.random.default_rng(3)
    config = plus(ratio=0.0, memory=0.0)
    table = ScoreTable.empty(300, state=config.rule.arrays)
    last = None
    for epoch in range(3):
        last = plan_table(table, epoch, config, last)
        scores = rng.lognormal(0, 1, 300)
        train(table, last, scores)
    plan_table(table, 3, config, last)
    np.testing.assert_allclose(table.state[AVERAGE], scores / scores.mean(), rtol=1e-5)


def test_scores_of_examples_that_were_not_planned_count_too() -> None:
    config = plus()
    table = ScoreTable.empty(10, state=config.rule.arrays)
    table.merge(np.arange(10), np.arange(1, 11, dtype=np.float32), 0)
    plan = plan_table(table, 1, config)
    np.testing.assert_allclose(table.state[AVERAGE], np.arange(1, 11) / 5.5, rtol=1e-6)
    assert plan.drawn == 5


def test_of_scores_alone_it_has_the_probabilities_of_sadp() -> None:
    scores = np.random.default_rng(4).lognormal(size=N)
    plan = plan_epoch(scores, 1, plus(scheme="systematic"))
    p = selection_probabilities(scores, N // 2, 0.2 * 0.5)
    np.testing.assert_allclose(plan.weights, 0.5 / p[plan.indices], rtol=1e-5)
    assert plan.weights.max() <= 1 / 0.2 + 1e-9


def test_the_exponent_follows_how_unlike_the_scores_are() -> None:
    assert exponent_for(np.ones(100)) == 1
    assert exponent_for(np.zeros(100)) == 1
    few = np.zeros(1000)
    few[:50] = 1
    assert exponent_for(few) == 0  # a coefficient of variation of 4.4
    half = np.array([0.0, 1.0] * 500)
    assert exponent_for(half) == pytest.approx((2 - 1) / 1.5)
    assert exponent_for(7e20 * half.astype(np.float32)) == pytest.approx((2 - 1) / 1.5)


@pytest.mark.parametrize("θ", [0, 0.5, 1])
def test_weights_to_a_power_keep_a_mean_of_one(θ: float) -> None:
    scores = np.random.default_rng(5).lognormal(size=N)
    whole = plan_epoch(scores, 0, PruningConfig(ratio=0.5))
    plan = plan_epoch(scores, 0, PruningConfig(ratio=0.5, weight_exponent=θ))
    np.testing.assert_array_equal(plan.indices, whole.indices)
    np.testing.assert_allclose(plan.importance, whole.weights, rtol=1e-6)
    if θ == 1:
        np.testing.assert_array_equal(plan.weights, whole.weights)
        return
    assert plan.weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(plan.weights / plan.weights[0], (whole.weights / whole.weights[0]) ** θ)
    np.testing.assert_array_equal(powered(np.empty(0), θ), [])


def test_auto_is_the_default_of_sadp_plus_and_goes_from_one_to_zero_as_examples_are_learned() -> None:
    config = PruningConfig(method="sadp-plus", ratio=0.5, epochs=4)
    table = ScoreTable.empty(N, state=config.rule.arrays)
    first = plan_table(table, 0, config)
    assert (first.weight_exponent, first.whole_weights) == (1, None)
    learned = np.where(np.random.default_rng(6).random(N) < 0.05, 1.0, 0.01)
    train(table, first, learned)
    assert plan_table(table, 1, config, first).weight_exponent < 0.5


@pytest.mark.parametrize("method", ["random", "infobatch", "full"])
def test_an_exponent_of_other_weights_is_refused(method: str) -> None:
    with pytest.raises(UsageError) as refused:
        PruningConfig(method=method, weight_exponent=0.5)
    assert "weight_exponent=0.5 has no meaning" in str(refused.value)
