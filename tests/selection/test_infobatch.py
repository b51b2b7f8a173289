"""InfoBatch's rule against its definition, written down plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, ScoreTable, plan_epoch

LOSSES = np.random.default_rng(3).gamma(0.5, size=1000).astype(np.float32)


def definition(losses: NDArray[np.float64], z: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eqs. 3 and 4 of the paper: the probability of each example to be kept, and its weight if it is."""
    p, weights = np.ones(len(losses)), np.ones(len(losses))
    for i, loss in enumerate(losses):
        if loss < losses.mean():
            p[i], weights[i] = z, 1 / z
    return p, weights


def config(**settings: Any) -> PruningConfig:
    return PruningConfig(method="infobatch", **settings)


@settings(max_examples=60)
@given(st.integers(2, 400), st.integers(1, 100), st.integers(0, 2**32))
def test_probabilities_with_a_given_z_are_those_of_the_definition(n: int, percent: int, seed: int) -> None:
    losses = np.random.default_rng(seed).gamma(0.5, size=n)
    z = percent / 100
    rule = config(keep_probability=z, epochs=8)
    expected, _ = definition(losses, z)
    p = rule.rule.probabilities(ScoreTable.of_scores(losses), n, epoch=1)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    plan = plan_epoch(losses, 1, rule)
    assert plan.subset_size == pytest.approx(expected.sum(), abs=0.5 + 1e-9)
    if z < 1:
        assert plan.report.capped == np.count_nonzero(losses >= losses.mean())


@settings(max_examples=60)
@given(st.integers(2, 400), st.floats(0, 1), st.integers(0, 2**32))
def test_a_ratio_is_met_by_the_one_z_that_meets_it_or_a_tenth_below_the_mean_is_kept(
    n: int, ratio: float, seed: int
) -> None:
    losses = np.random.default_rng(seed).gamma(0.5, size=n)
    S = round((1 - ratio) * n)
    p = config(epochs=8).rule.probabilities(ScoreTable.of_scores(losses), S, epoch=1)
    below = losses < losses.mean()
    assert (p[~below] == 1).all()
    assert np.unique(p[below]).size == 1
    if n - S <= 0.9 * below.sum():
        assert p.sum() == pytest.approx(S)
    else:
        assert p[below] == pytest.approx(0.1)


@settings(max_examples=40)
@given(st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(0, 2**64 - 1))
def test_a_plan_keeps_all_that_is_not_below_the_mean_and_weighs_as_the_paper(z: float, seed: int) -> None:
    plan = plan_epoch(LOSSES, 1, config(keep_probability=z, epochs=8, seed=seed))
    p, weights = definition(LOSSES.astype(float), z)
    assert plan.subset_size == round(p.sum())
    assert plan.drawn in (np.floor(p.sum()), np.ceil(p.sum()))
    assert set(np.flatnonzero(p == 1)) <= set(plan.indices.tolist())
    np.testing.assert_allclose(plan.weights, weights[plan.indices], rtol=1e-12)
    assert plan.weighted_size == 1000
    assert plan.ratio == pytest.approx(1 - plan.subset_size / 1000)


@pytest.mark.parametrize("scheme", ["systematic", "bernoulli"])
def test_the_weighted_mean_is_unbiased(scheme: str) -> None:
    epochs = 2000
    rule = config(ratio=0.5, epochs=epochs, scheme=scheme)
    x = LOSSES.astype(float) ** 2
    estimates = []
    for epoch in range(1, epochs // 2):  # the first and the last of all have all data
        plan = plan_epoch(LOSSES, epoch, rule)
        assert plan.ratio == pytest.approx(0.5 * 2000 / 1749, abs=1e-3)
        estimates.append(plan.weights @ x[plan.indices] / plan.weighted_size)
    standard_error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert 0 < standard_error < 0.01 * x.mean()
    assert abs(np.mean(estimates) - x.mean()) < 3 * standard_error


@pytest.mark.parametrize(("epochs", "pruned"), [(8, 7), (10, 8), (16, 14), (200, 175), (2, 1), (1, 0)])
def test_the_first_epoch_and_the_last_eighth_have_all_data(epochs: int, pruned: int) -> None:
    rule = config(ratio=0.3, epochs=epochs).rule
    found = [rule.ratio(epoch) for epoch in range(epochs)]
    between = max(pruned - 1, 0)
    expected = [0.0] + [0.3 * epochs / max(between, 1)] * between + [0.0] * (epochs - between - 1)
    assert found == pytest.approx(expected)
    given_z = config(keep_probability=0.7, ratio=0.9, epochs=epochs).rule
    found = [given_z.ratio(epoch) for epoch in range(epochs)]
    assert found == pytest.approx([0.3] * pruned + [0.0] * (epochs - pruned))
    last = plan_epoch(LOSSES, epochs - 1, config(ratio=0.3, epochs=epochs))
    assert (last.drawn, last.ratio) == (1000, 0)
    np.testing.assert_array_equal(last.weights, 1)


def ratios_of_a_run(rule: PruningConfig, shape: float) -> NDArray[np.float64]:
    """The ratio of each epoch, where every epoch scores what it trains on anew."""
    random = np.random.default_rng(1)
    losses, ratios = np.full(1000, np.nan, np.float32), []
    for epoch in range(rule.epochs):
        plan = plan_epoch(losses, epoch, rule)
        losses[plan.indices] = random.gamma(shape, size=plan.drawn)
        ratios.append(plan.ratio)
    return np.array(ratios)


def test_the_mean_ratio_of_all_epochs_is_the_one_asked_for() -> None:
    ratios = ratios_of_a_run(config(ratio=0.4, epochs=16), shape=0.3)
    assert ratios.mean() == pytest.approx(0.4, abs=1e-3)
    assert ratios[0] == ratios[-1] == 0


def test_what_a_ratio_that_is_too_large_comes_to_is_in_the_plans() -> None:
    ratios = ratios_of_a_run(
        config(ratio=0.8, epochs=16), shape=5.0
    )  # half of such losses are below the mean
    assert ratios.mean() < 0.7
    assert ratios[1] == pytest.approx(0.9 * 0.56, abs=0.05)  # nine tenths of the share below the mean
    ratios = ratios_of_a_run(config(ratio=0.8, epochs=16, least_kept=0), shape=5.0)
    assert ratios[1] == pytest.approx(0.56, abs=0.05)


def test_before_there_are_losses_and_where_all_are_equal_nothing_is_left_out() -> None:
    for losses in (np.full(50, np.nan), np.full(50, 0.1, np.float32), np.zeros(50)):
        for z in (None, 0.5):
            plan = plan_epoch(losses, 1, config(ratio=0.5, keep_probability=z, epochs=8))
            assert plan.drawn == 50
            np.testing.assert_array_equal(plan.weights, 1)


def test_an_example_without_a_loss_is_not_below_the_mean() -> None:
    losses = LOSSES.copy()
    losses[::7] = np.nan
    for seed in range(20):
        plan = plan_epoch(losses, 1, config(ratio=0.6, epochs=8, seed=seed))
        assert set(range(0, 1000, 7)) <= set(plan.indices.tolist())


def test_the_floor_of_sadp_has_no_say_and_a_ratio_of_1_is_refused() -> None:
    with pytest.raises(UsageError, match='ratio=1 with method="infobatch" .*; use a ratio below 1'):
        config(ratio=1)
    assert config(ratio=1, keep_probability=0.5).rule.ratio(0) == 0
    plans = [
        plan_epoch(LOSSES, 1, config(ratio=0.6, min_probability=floor, epochs=8)) for floor in (0.0, 0.5)
    ]
    np.testing.assert_array_equal(plans[0].indices, plans[1].indices)
