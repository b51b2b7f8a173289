"""Calibrated scores: the curve against its definition, and the noise of the gradients that it leaves."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sadp_dist.selection import PruningConfig, ScoreTable
from sadp_dist.selection.calibration import EXPECTED, FEWEST, MOST, curve, expect, sums_of_pairs
from sadp_dist.selection.passes import BLOCK
from sadp_dist.selection.plan import EpochPlan, ProbabilityReport, plan_table
from sadp_dist.selection.relative_scores import AVERAGE, TRUST, Times


def sums_of(a: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the sums of an epoch on all examples, with averages a, relative scores x and weights w."""
    n = len(a)
    table = ScoreTable.of_scores(x, state={AVERAGE: np.float32, TRUST: np.float32})
    table.state[AVERAGE][:], table.state[TRUST][:] = a, 1
    last = EpochPlan(0, 0.0, n, n, n, ProbabilityReport(0), np.arange(n), w)
    return sums_of_pairs(table, last, Times(np.ones(n, np.uint8), np.ones(256)))


def roots(c: np.ndarray, a: np.ndarray) -> np.ndarray:
    return np.sqrt(c @ np.stack([np.ones_like(a), a, a * a]))


def test_of_exact_scores_the_curve_is_their_square() -> None:
    rng = np.random.default_rng(1)
    a = rng.lognormal(0, 1.5, 5000)
    c = curve(sums_of(a, a, np.ones(5000)))
    assert c is not None
    np.testing.assert_allclose(roots(c, a), a, rtol=0.01, atol=0.005)


def test_where_averages_say_nothing_all_examples_are_alike() -> None:
    rng = np.random.default_rng(2)
    a, x = rng.lognormal(0, 1, (2, 50_000))
    c = curve(sums_of(a, x, np.ones(len(a))))
    assert c is not None
    expected = roots(c, np.quantile(a, [0.01, 0.99]))
    np.testing.assert_allclose(expected, np.sqrt(np.mean(x**2)), rtol=0.1)


def test_no_curve_of_its_kind_has_a_lower_noise_ratio() -> None:
    rng = np.random.default_rng(3)
    a = rng.lognormal(0, 1, 3000)
    x = np.sqrt(0.2 + a + 0.3 * a**2) * rng.lognormal(-1, 1, 3000)
    w = rng.uniform(0.5, 5, 3000)

    def noise(c: np.ndarray) -> float:
        root = roots(c, a)
        return float((w * x**2 / root).sum() * (w * root).sum())

    c = curve(sums_of(a, x, w))
    assert c is not None
    best = minimize(lambda logs: np.log(noise(np.exp(logs))), np.log([0.3, 0.3, 0.3]), method="Nelder-Mead")
    assert np.log(noise(c)) < best.fun + 1e-3


@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_no_example_is_expected_to_have_less_than_one_of_lower_average(
    seed: int, spread: float, zeros: float
) -> None:
    rng = np.random.default_rng(seed)
    a, x = rng.lognormal(0, spread, (2, FEWEST))
    a[rng.random(FEWEST) < zeros] = 0
    x[rng.random(FEWEST) < zeros] = 0
    c = curve(sums_of(a, x, rng.uniform(0.1, 10, FEWEST)))
    if c is None:
        assert not a.any() or not x.any()
        return
    assert np.isfinite(c).all() and (c >= 0).all() and c.any()
    assert (np.diff(roots(c, np.sort(a))) >= 0).all()


def test_a_pair_counts_as_often_as_its_weight_says() -> None:
    rng = np.random.default_rng(4)
    a, x = rng.lognormal(0, 1, (2, 1000))
    w = rng.integers(1, 5, 1000)
    weighted, repeated = (
        sums_of(a, x, w.astype(float)),
        sums_of(*(v.repeat(w) for v in (a, x)), np.ones(w.sum())),
    )
    np.testing.assert_allclose(weighted[:, 1:], repeated[:, 1:])
    found, expected = curve(weighted), curve(repeated)
    assert found is not None and expected is not None
    np.testing.assert_allclose(found, expected)


def test_the_curve_scales_with_the_scores() -> None:
    rng = np.random.default_rng(5)
    a, x = rng.lognormal(0, 1, (2, 1000))
    once, more = (curve(sums_of(a, scale * x, np.ones(1000))) for scale in (1, 1000))
    assert once is not None and more is not None
    np.testing.assert_allclose(more, 1e6 * once)


def test_of_many_pairs_a_part_is_looked_at() -> None:
    rng = np.random.default_rng(6)
    n = 2 * MOST + 5
    a, x = rng.lognormal(0, 1, (2, n))
    sums = sums_of(a, x, np.ones(n))
    assert MOST / 2 < sums[:, 0].sum() <= MOST
    few = sums_of(a[:5000], x[:5000], np.ones(5000))
    assert few[:, 0].sum() == 5000


def test_with_few_pairs_the_averages_are_used() -> None:
    rng = np.random.default_rng(7)
    a, x = rng.lognormal(0, 1, (2, FEWEST - 1))
    assert curve(sums_of(a, x, np.ones(FEWEST - 1))) is None
    state = {AVERAGE: np.float32, TRUST: np.float32, EXPECTED: np.float32}
    table = ScoreTable.of_scores(x, state=state)
    table.state[AVERAGE][:] = a
    expect(table, None)
    np.testing.assert_array_equal(table.state[EXPECTED], table.state[AVERAGE])
    plans = run(calibrate=False, N=500, ratio=0.5), run(calibrate=True, N=500, ratio=0.5)
    for plain, calibrated in zip(*plans, strict=True):
        np.testing.assert_array_equal(plain[0].indices, calibrated[0].indices)
        np.testing.assert_array_equal(plain[0].weights, calibrated[0].weights)


def run(
    *,
    calibrate: bool,
    N: int,
    epochs: int = 3,
    drift: float = 0.0,
    noise: float = 0.0,
    scale: float = 1,
    **options,
) -> list[tuple[EpochPlan, float]]:
    """Return each epoch's plan and true noise ratio, of gradients that drift and are measured with noise."""
    config = PruningConfig(
        **{"method": "sadp-plus", "epochs": epochs, "weight_exponent": 1, "scheme": "systematic", **options},
        calibrate=calibrate,
    )
    rng = np.random.default_rng(2)
    table, last, found = ScoreTable.empty(N, state=config.rule.arrays), None, []
    logs = rng.normal(0, 1, N)
    for epoch in range(epochs):
        last = plan_table(table, epoch, config, last)
        rule, S = config.rule, last.subset_size
        p = rule.probabilities(rule.known(table), S, epoch)
        squares = np.exp(2 * logs)
        found.append((last, float((squares / p).sum() / (squares * N / S).sum())))
        scores = scale * np.exp(logs + noise * rng.normal(size=N)).astype(np.float32)
        table.merge(last.indices.astype(np.int64), scores[last.indices], epoch)
        logs = np.sqrt(1 - drift**2) * logs + drift * rng.normal(size=N)
    return found


@pytest.mark.parametrize("scheme", ["systematic", "carried"])
def test_gradients_that_are_measured_with_noise_and_drift_are_estimated_with_less_noise(scheme: str) -> None:
    def second_half(calibrate: bool, floor: float) -> float:
        found = run(
            calibrate=calibrate,
            N=6000,
            epochs=14,
            drift=0.4,
            noise=1.0,
            ratio=0.7,
            scheme=scheme,
            min_probability=floor,
        )
        return float(np.mean([ratio for _, ratio in found[7:]]))

    calibrated = second_half(True, 0.05)
    assert calibrated < 0.95 * min(second_half(False, 0.05), second_half(False, 0.2))
    assert calibrated < 0.9


def test_exact_scores_are_left_as_they_are() -> None:
    with_and_without = (
        run(calibrate=each, N=20_000, epochs=4, ratio=0.5, min_probability=0.05)[-1][1]
        for each in (True, False)
    )
    assert next(with_and_without) == pytest.approx(next(with_and_without), rel=0.01)


def test_the_unit_of_the_scores_does_not_matter() -> None:
    options = {"calibrate": True, "N": 2000, "epochs": 4, "ratio": 0.5, "noise": 0.5}
    for one, other in zip(run(**options), run(**options, scale=1024), strict=True):
        np.testing.assert_array_equal(one[0].indices, other[0].indices)
        np.testing.assert_array_equal(one[0].weights, other[0].weights)


def test_any_number_of_threads_plans_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    plans = []
    for count in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=count: set(range(count)))
        plans.append(run(calibrate=True, N=33 * BLOCK + 7, ratio=0.5, noise=0.5)[-1][0])
    np.testing.assert_array_equal(plans[0].indices, plans[1].indices)
    np.testing.assert_array_equal(plans[0].weights, plans[1].weights)
