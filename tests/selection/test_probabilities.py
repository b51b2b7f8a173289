"""Selection probabilities: sum, range, floor, order, and agreement with exact arithmetic, on any input."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.sorted_form import sorted_probabilities
from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, plan_epoch, probabilities, selection_probabilities
from sadp_dist.selection.passes import block_sums
from sadp_dist.selection.probabilities import cap
from tests.selection.exact import exact_probabilities

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())
LARGEST, TINIEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)

score = st.one_of(
    st.floats(0, LARGEST, width=32),
    st.floats(0, 10, width=32),
    st.sampled_from([0.0, 1.0, 2.0, TINIEST, 2 * TINIEST, LARGEST]),
)
tables = st.lists(score, min_size=1, max_size=40)
share = st.one_of(st.floats(1e-200, 1), st.sampled_from([0.0, 0.1, 0.5, 1.0]))  # below, α leaves float64
zero_modes = st.sampled_from(["floor", "paper"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_known_case(case: dict, dtype: type) -> None:
    p = selection_probabilities(np.array(case["scores"], dtype), case["subset_size"], case["min_probability"])
    assert p.dtype == np.float64
    np.testing.assert_allclose(p, case["probabilities"], rtol=0, atol=1e-6)


def test_all_known_cases_are_there() -> None:
    assert len(CASES) == 80


@settings(max_examples=400)
@given(tables, share, share, zero_modes)
@example([LARGEST, *[TINIEST] * 9], 0.25, 0.0, "floor")
@example([LARGEST, *[TINIEST] * 9], 0.25, 0.05, "floor")
@example([LARGEST, *[TINIEST] * 9], 0.1, 0.0, "floor")
@example([0.0, 0.0, 1.0, 1.0, 10.0, 10.0], 2.1 / 6, 0.05, "paper")
def test_they_are_those_of_exact_arithmetic(
    scores: list[float], kept: float, floor: float, zero_scores: str
) -> None:
    S = kept * len(scores)
    p = selection_probabilities(np.array(scores, np.float32), S, floor, zero_scores)
    np.testing.assert_allclose(p, exact_probabilities(scores, S, floor, zero_scores), rtol=1e-9, atol=1e-11)


@settings(max_examples=400)
@given(tables, share, share, zero_modes)
def test_sum_range_floor_and_order_hold(
    scores: list[float], kept: float, floor: float, zero_scores: str
) -> None:
    G = np.array(scores, np.float32)
    N, S = len(G), kept * len(G)
    p = selection_probabilities(G, S, floor, zero_scores)
    assert p.sum() == pytest.approx(S, rel=1e-12, abs=1e-12)
    assert p.min() >= 0 and p.max() <= 1
    assert np.all(np.diff(p[np.argsort(G, kind="stable")]) >= 0), "a higher score has a lower probability"
    with_floor = p[G > 0] if zero_scores == "paper" and G.any() else p
    assert with_floor.min() >= min(floor, S / N) * (1 - 1e-12)


@settings(max_examples=100)
@given(tables, share, share)
def test_both_float_types_and_the_order_of_examples_make_no_difference(
    scores: list[float], kept: float, floor: float
) -> None:
    G, S = np.array(scores, np.float32), kept * len(scores)
    p = selection_probabilities(G, S, floor)
    np.testing.assert_array_equal(selection_probabilities(G.astype(np.float64), S, floor), p)
    np.testing.assert_allclose(selection_probabilities(G[::-1], S, floor)[::-1], p, rtol=1e-9, atol=1e-12)


def _million(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    N = 1_000_000
    return {
        "lognormal": rng.lognormal(sigma=3, size=N),
        "ties": rng.integers(1, 4, N),
        "all of float32's range": 10.0 ** rng.uniform(-45, 38, N),
        "one giant": np.r_[rng.random(N - 1), 1e38],
        "denormals": rng.integers(1, 1000, N) * TINIEST,
    }[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["lognormal", "ties", "all of float32's range", "one giant", "denormals"])
@pytest.mark.parametrize("kept", [1e-6, 0.35, 0.65, 0.999])
def test_a_million_examples_agree_with_the_sorted_form(kind: str, kept: float) -> None:
    G = _million(kind)
    G[G == 0] = TINIEST
    S = kept * len(G)
    p = selection_probabilities(G, S)
    np.testing.assert_allclose(p, sorted_probabilities(G, S), rtol=1e-9, atol=1e-12)
    assert p.sum() == pytest.approx(S, rel=1e-9)


def test_the_report_has_gamma_and_how_many_are_capped() -> None:
    G = np.random.default_rng(0).lognormal(size=10_000)
    for floor in (0.0, 0.3):
        p = selection_probabilities(G, 5000, floor)
        report = plan_epoch(G, 0, PruningConfig(ratio=0.5, floor="absolute", min_probability=floor)).report
        assert (report.gamma > 0) == (floor > 0)
        i = int(np.argmax(p * (p < 1)))
        alpha = (G[i] + report.gamma) / p[i]
        np.testing.assert_allclose(np.minimum((G + report.gamma) / alpha, 1), p, rtol=1e-9)
        assert report.capped == np.count_nonzero(p == 1) > 0
        assert not report.floor_in_force
    assert p.min() == pytest.approx(0.3, rel=1e-12)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 1.0, 1.5, 2.0, 4.0, 9.0]), min_size=1, max_size=40),
    st.sampled_from([0.1, 0.5, 0.8]),
    st.sampled_from([0.0, 0.05, 0.3]),
    zero_modes,
)
def test_gamma_gives_the_probabilities_back(
    scores: list[float], kept: float, floor: float, zero_scores: str
) -> None:
    G = np.array(scores, np.float32)
    config = PruningConfig(ratio=1 - kept, floor="absolute", min_probability=floor, zero_scores=zero_scores)
    plan = plan_epoch(G, 0, config)
    p = selection_probabilities(G, plan.subset_size, floor, zero_scores)
    gamma = plan.report.gamma
    if gamma is None:  # p = 1, p = S / N, or the zeros share what the positive scores leave
        assert len(np.unique(p[G > 0])) <= 1
    else:
        taking_part = G > 0 if zero_scores == "paper" and G.any() else np.full(len(G), True)
        H, q = G[taking_part].astype(float) + gamma, p[taking_part]
        i = int(np.argmax(q * (q < 1)))
        if 0 < q[i] < 1:
            np.testing.assert_allclose(np.minimum(H * q[i] / H[i], 1), q, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [7, 10, 40, 1000])
def test_a_floor_equal_to_the_kept_share_leaves_gamma_open(n: int) -> None:
    G = np.random.default_rng(n).lognormal(size=n)
    for S in range(1, n, max(n // 10, 1)):
        report = plan_epoch(
            G, 0, PruningConfig(ratio=1 - S / n, floor="absolute", min_probability=S / n)
        ).report
        assert report.gamma is None and report.capped == 0


def test_a_floor_above_the_kept_share_makes_all_equal_and_is_reported() -> None:
    scores = [1.0, 2.0, 30.0, 4.0]
    np.testing.assert_array_equal(selection_probabilities(scores, 1, 0.3), 0.25)
    assert plan_epoch(
        scores, 0, PruningConfig(ratio=0.75, floor="absolute", min_probability=0.3)
    ).report.floor_in_force
    with pytest.warns(UserWarning):
        empty = PruningConfig(ratio=1, floor="absolute", min_probability=0.3)
    assert not plan_epoch(scores, 0, empty).report.floor_in_force


def test_scores_of_zero_are_lifted_by_default_and_left_out_as_in_the_paper() -> None:
    G = [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert selection_probabilities(G, 3, 0.1).min() == pytest.approx(0.1)
    paper = selection_probabilities(G, 3, 0.1, zero_scores="paper")
    np.testing.assert_array_equal(paper[:2], 0)
    np.testing.assert_allclose(paper[2:], [1 / 3, 2 / 3, 1, 1], rtol=1e-15)


@pytest.mark.parametrize("zero_scores", ["floor", "paper"])
def test_zeros_share_what_the_positive_scores_leave(zero_scores: str) -> None:
    p = selection_probabilities([0.0, 5.0, 0.0, 0.0, 1e-30], 3, zero_scores=zero_scores)
    np.testing.assert_allclose(p, [1 / 3, 1, 1 / 3, 1 / 3, 1], rtol=1e-15)


@settings(max_examples=300)
@given(tables, st.floats(0.01, 0.99), st.one_of(score, st.just(float("inf"))))
def test_any_first_guess_comes_to_the_same_end(scores: list[float], kept: float, guess: float) -> None:
    G, N = np.array(scores, np.float32), len(scores)
    expected = cap(partial(block_sums, G), kept * N, N, 0.0)
    guessed = cap(partial(block_sums, G), kept * N, N, 0.0, start=guess)
    if expected[0] is None:
        assert guessed[:2] == expected[:2]
    else:
        p, q = (np.minimum(G / np.float64(alpha), 1) for alpha in (expected[0], guessed[0]))
        np.testing.assert_allclose(q, p, rtol=1e-12)


def test_a_guess_from_a_sample_saves_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    G = np.random.default_rng(0).lognormal(size=200_000)
    passes = 0

    def counted(scores: np.ndarray, *arguments: float, **settings: bool) -> tuple[float, int]:
        nonlocal passes
        passes += len(scores) == len(G)
        return block_sums(scores, *arguments, **settings)

    monkeypatch.setattr(probabilities, "block_sums", counted)
    p = selection_probabilities(G, 100_000)
    alpha, capped, rounds = cap(partial(block_sums, G), 100_000, len(G), 0.0)
    assert 0 < passes < rounds
    np.testing.assert_allclose(p, np.minimum(G / alpha, 1), rtol=1e-12)
    assert capped == np.count_nonzero(p == 1)


def test_scores_beyond_float32_are_no_trouble() -> None:
    small = np.array([1.0, 2.0, 3.0, 10.0])
    for scale in (2.0**1000, 2.0**-1000):
        np.testing.assert_array_equal(
            selection_probabilities(small * scale, 2, 0.2), selection_probabilities(small, 2, 0.2)
        )


def test_minus_zero_is_zero_and_nothing_is_nothing() -> None:
    np.testing.assert_array_equal(selection_probabilities([-0.0, 1.0, 1.0], 1), [0, 0.5, 0.5])
    assert selection_probabilities([], 0).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -1e-30])
def test_what_is_no_score_is_refused_by_place_and_value(wrong: float, dtype: type) -> None:
    G = np.ones(1000, dtype)
    G[[123, 600]] = wrong
    with pytest.raises(UsageError, match=r"scores\[123\]=(nan|-?inf|-1)[^\n]*finite and at least 0$"):
        selection_probabilities(G, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset_size": 4}, r"subset_size=4 is outside \[0, 3\]"),
        ({"subset_size": -0.1}, r"subset_size=-0.1 is outside"),
        ({"subset_size": float("nan")}, r"subset_size=nan is outside"),
        ({"subset_size": 1, "min_probability": 1.5}, r"min_probability=1.5 is outside \[0, 1\]"),
        ({"subset_size": 1, "zero_scores": "papr"}, r"zero_scores='papr'.*did you mean \"paper\"\?"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        selection_probabilities([1.0, 2.0, 3.0], **arguments)
    with pytest.raises(UsageError, match=r"scores has shape \(2, 2\)"):
        selection_probabilities(np.ones((2, 2)), 1)
