"""Drawing: each example as often as its probability says, a fixed size where promised, fitting weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import draw, importance_weights, selection_probabilities, uniform

SCHEMES = [("bernoulli", False), ("systematic", False), ("systematic", True)]
N = 60
PROBABILITIES = selection_probabilities(np.random.default_rng(2).lognormal(size=N), 25, 0.1)
STRATA = np.random.default_rng(3).integers(0, 4, N)


@pytest.mark.parametrize(("scheme", "stratified"), SCHEMES)
def test_each_example_is_drawn_as_often_as_its_probability_says(scheme: str, stratified: bool) -> None:
    draws = 4000
    times = np.zeros(N)
    for epoch in range(draws):
        times[draw(PROBABILITIES, 1, epoch, scheme, STRATA if stratified else None)] += 1
    certain = PROBABILITIES == 1
    assert 0 < certain.sum() < N
    np.testing.assert_array_equal(times[certain], draws)
    p = PROBABILITIES[~certain]
    z = (times[~certain] - draws * p) / np.sqrt(draws * p * (1 - p))
    assert np.abs(z).max() < 4
    assert np.mean(z**2) == pytest.approx(1, abs=0.6)


def test_bernoulli_draws_each_example_by_its_own_number() -> None:
    p = np.random.default_rng(0).random(1000)
    np.testing.assert_array_equal(draw(p, seed=4, epoch=2), np.flatnonzero(uniform(4, 2, range(1000)) < p))


def test_the_size_of_a_bernoulli_subset_varies_as_independent_draws_do() -> None:
    sizes = [len(draw(PROBABILITIES, 0, epoch)) for epoch in range(2000)]
    assert np.mean(sizes) == pytest.approx(25, abs=0.3)
    assert np.var(sizes) == pytest.approx(np.sum(PROBABILITIES * (1 - PROBABILITIES)), rel=0.15)


@pytest.mark.parametrize("n", [10, 1000, 1_000_000])
@pytest.mark.parametrize("kept", [0.1, 0.35, 0.5])
def test_a_systematic_subset_has_the_size_of_the_sum(n: int, kept: float) -> None:
    S = round(kept * n)
    p = selection_probabilities(np.random.default_rng(n).lognormal(size=n), S, 0.05)
    strata = np.arange(n) % 7
    for seed in range(3):
        assert len(draw(p, seed, scheme="systematic")) == S
        assert len(draw(p, seed, scheme="systematic", strata=strata)) == S


def test_sums_that_rounding_moves_off_a_whole_number_do_not_change_the_size() -> None:
    for p, size in ((np.full(30, 0.1), 3), (np.full(1_000_000, 0.7), 700_000), (np.full(3, 1 / 3), 1)):
        sizes = {len(draw(p, seed, scheme="systematic")) for seed in range(20)}
        assert sizes == {size}


def test_a_fractional_sum_gives_one_of_its_neighbours_in_proportion() -> None:
    p = np.full(10, 0.23)
    sizes = [len(draw(p, 0, epoch, "systematic")) for epoch in range(3000)]
    assert set(sizes) == {2, 3}
    assert np.mean(sizes) == pytest.approx(2.3, abs=0.03)


probability = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-300, np.nextafter(1, 0)]))


@settings(max_examples=200)
@given(st.lists(probability, max_size=60), st.integers(0, 2**64 - 1), st.sampled_from(SCHEMES), st.data())
def test_certain_examples_are_always_drawn_and_impossible_ones_never(
    probabilities: list[float], seed: int, scheme: tuple[str, bool], data: st.DataObject
) -> None:
    p = np.array(probabilities)
    strata = np.arange(len(p)) // 5 if scheme[1] else None
    indices = draw(p, seed, data.draw(st.integers(0, 1000)), scheme[0], strata)
    assert indices.dtype == np.int64
    assert np.all(np.diff(indices) > 0)
    assert set(np.flatnonzero(p == 1)) <= set(indices) <= set(np.flatnonzero(p > 0))
    if scheme[0] == "systematic":
        assert abs(len(indices) - p.sum()) < 1 + 1e-9


def test_every_stratum_gets_its_share() -> None:
    rng = np.random.default_rng(6)
    strata = rng.integers(0, 100, 20_000)
    p = selection_probabilities(rng.lognormal(size=20_000), 7000, 0.1)
    share = np.bincount(strata, weights=p)

    def error(strata_used: np.ndarray | None) -> float:
        drawn = draw(p, 0, 0, "systematic", strata_used)
        return float(np.abs(np.bincount(strata[drawn], minlength=100) - share).max())

    assert error(strata) < 1
    assert error(None) > 5


def test_a_draw_depends_on_seed_and_epoch_and_nothing_else() -> None:
    for scheme in ("bernoulli", "systematic"):
        first = draw(PROBABILITIES, 5, 3, scheme)
        np.testing.assert_array_equal(draw(PROBABILITIES, 5, 3, scheme), first)
        others = [draw(PROBABILITIES, 5, 4, scheme), draw(PROBABILITIES, 6, 3, scheme)]
        assert not any(np.array_equal(first, other) for other in others)


def test_weights_are_those_of_equation_11() -> None:
    weights = importance_weights([0.5, 0.25, 1.0, 0.25], [3, 0], subset_size=2)
    np.testing.assert_array_equal(weights, [2 / (4 * 0.25), 2 / (4 * 0.5)])
    assert importance_weights([0.5], [], 1).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw([0.5, 1.5]), r"probabilities\[1\]=1.5 is outside \[0, 1\]"),
        (lambda: draw([np.nan, 0.5]), r"probabilities\[0\]=nan is outside"),
        (lambda: draw([[0.5]]), r"probabilities has shape \(1, 1\)"),
        (lambda: draw([0.5], scheme="systemtic"), r"scheme='systemtic'.*did you mean \"systematic\""),
        (lambda: draw([0.5], scheme="bernoulli", strata=[0]), r"strata need scheme=\"systematic\""),
        (lambda: draw([0.5], scheme="systematic", strata=[0, 1]), r"strata is int64 \(2,\)"),
        (lambda: draw([0.5], scheme="systematic", strata=[0.5]), r"strata is float64 \(1,\)"),
        (lambda: importance_weights([0.5, 0.0], [1], 1), r"probabilities\[1\]=0.0 gives no weight"),
        (lambda: importance_weights([0.5, 0.0], [2], 1), r"indices reach from 2 to 2, outside \[0, 1\]"),
        (lambda: importance_weights([0.5, 0.0], [-1, 0], 1), r"indices reach from -1 to 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
