"""Draws carried over epochs: exact sizes, as often as the probabilities say, and nobody waits for long."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, ScoreTable, plan_epoch, selection_probabilities
from sadp_dist.selection.carried import CREDIT, LAST_DRAWN, STATE, draw_carried
from sadp_dist.selection.passes import BLOCK
from sadp_dist.selection.plan import plan_table


class Draws:
    """Draws one epoch after the other, with the state that they keep."""

    def __init__(self, n: int, credit: np.ndarray | float = 0.0, seed: int = 0) -> None:
        self.seed = seed
        self.state = {name: np.zeros(n, dtype) for name, dtype in STATE.items()}
        self.credit = self.state[CREDIT]
        self.credit[:] = credit

    def __call__(self, p: np.ndarray, size: int, epoch: int, floor: float = 0.0) -> np.ndarray:
        packed = draw_carried(self.state, p, size, self.seed, epoch, floor)
        return np.unpackbits(packed, count=len(p), bitorder="little").astype(bool)


@pytest.mark.parametrize("n", [1, 7, 100, BLOCK + 13])
def test_those_of_largest_credit_are_drawn_and_pay(n: int) -> None:
    rng = np.random.default_rng(n)
    credit = rng.random(n).astype(np.float32)
    p = rng.random(n)
    size = n // 2
    expected = (credit + p).astype(np.float32)
    draws = Draws(n, credit)
    drawn = draws(p, size, epoch=1)
    assert drawn.sum() == size
    np.testing.assert_array_equal(np.flatnonzero(drawn), np.sort(np.argsort(-expected)[:size]))
    np.testing.assert_array_equal(draws.credit, expected - drawn)
    assert (draws.state[LAST_DRAWN] == drawn).all()


def test_chance_decides_between_equal_credits_and_depends_on_the_epoch() -> None:
    p = np.full(1000, 0.5)
    first, again, other = (Draws(1000, 1.0)(p, 300, epoch) for epoch in (4, 4, 5))
    assert first.sum() == other.sum() == 300
    np.testing.assert_array_equal(first, again)
    assert 50 < (first & other).sum() < 130  # 90 by chance


@pytest.mark.parametrize("size", [0, 40])
def test_none_and_all(size: int) -> None:
    draws = Draws(40)
    assert draws(np.full(40, size / 40), size, epoch=0).sum() == size
    assert (draws.credit >= 0).all() and (draws.credit < 1).all()


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32))
def test_rs2_shows_every_example_in_every_window_of_its_round(N: int, S: int, seed: int) -> None:
    S = min(S, N)
    config = PruningConfig(method="rs2", ratio=1 - S / N, epochs=200, seed=seed)
    table = ScoreTable.empty(N, state=config.rule.arrays)
    seen = np.zeros((60, N), int)
    for epoch in range(60):
        plan = plan_table(table, epoch, config)
        assert plan.drawn == S and (plan.weights == 1).all()
        seen[epoch, plan.indices] += 1
    assert seen.max() == 1
    window = ceil(N / S)
    for begin in range(60 - window + 1):
        assert seen[begin : begin + window].sum(0).min() >= 1
    for end in range(1, 61):  # as often as each other, but for one
        times = seen[:end].sum(0)
        assert times.max() - times.min() <= 1


@settings(max_examples=30)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 7, 60, 300]),
    st.sampled_from([0.1, 0.2, 0.3, 1.0]),
    st.sampled_from([0.0, 0.5, 0.7, 0.9]),
    st.booleans(),
)
def test_with_a_floor_no_example_waits_longer_than_the_floor_says(
    seed: int, N: int, b: float, r: float, steady: bool
) -> None:
    S = max(round((1 - r) * N), 1)
    floor = b * S / N
    longest = ceil(N / (b * S) - 1e-9)
    rng = np.random.default_rng(seed)
    draws, waited, total = Draws(N, seed=seed), np.zeros(N, int), np.zeros(N)
    times, base = np.zeros(N, int), rng.lognormal(0, 2, N)
    for epoch in range(150):
        G = base * rng.lognormal(0, 0.5, N) if steady else rng.lognormal(0, 2, N) * rng.integers(0, 2, N)
        p = selection_probabilities(G, S, floor)
        drawn = draws(p, S, epoch, floor)
        assert drawn.sum() == S
        waited = np.where(drawn, 0, waited + 1)
        assert waited.max() < longest
        times, total = times + drawn, total + p
    assert np.abs(times - total).max() < 1.5  # as often as the probabilities add up to


@pytest.mark.parametrize("method", ["sadp", "sadp-plus"])
@pytest.mark.parametrize("floor", ["relative", "absolute"])
def test_a_run_leaves_no_example_out_for_longer_than_its_floor_allows(method: str, floor: str) -> None:
    N, rng = 400, np.random.default_rng(5)
    b = 0.25 if floor == "relative" else 0.05
    pruning = PruningConfig(
        method=method, ratio=0.8, max_ratio=0.8, epochs=120, scheme="carried", floor=floor, min_probability=b
    )
    table = ScoreTable.empty(N, state=pruning.rule.arrays)
    hard, waited, last = rng.lognormal(0, 2, N), np.zeros(N, int), None
    for epoch in range(120):
        last = plan_table(table, epoch, pruning, last)
        waited += 1
        waited[last.indices] = 0
        assert waited.max() < 20
        scores = hard[last.indices] * rng.lognormal(0, 1, last.drawn)
        table.merge(last.indices, scores.astype(np.float32), epoch, pruning.rule.combine)
    assert waited.max() > 8  # so it is the floor that draws some of them


def test_the_weighted_mean_over_epochs_is_that_of_the_data_set() -> None:
    """Unbiased over a window of epochs: the mean of an example's weights is 1, as far as draws are whole."""
    N, epochs = 200, 1000
    rng = np.random.default_rng(1)
    config = PruningConfig(ratio=0.7, epochs=epochs, scheme="carried", min_probability=0.2)
    table = ScoreTable.empty(N, state=config.rule.arrays)
    table.scores[:] = rng.lognormal(0, 1, N)
    x, sums = rng.normal(size=N), np.zeros(N)
    for epoch in range(epochs):
        plan = plan_table(table, epoch, config)
        sums[plan.indices] += plan.weights * N / plan.subset_size
    assert np.abs(sums / epochs - 1).max() < 2 / (0.2 * 0.3 * epochs)  # a draw more or less
    assert abs((sums / epochs) @ x / N - x.mean()) < 0.01


def test_a_plan_of_carried_draws_has_exactly_s_examples_for_every_world_size() -> None:
    scores = np.random.default_rng(2).lognormal(size=101)
    plan = plan_epoch(scores, 3, PruningConfig(ratio=0.6, epochs=9, scheme="carried"))
    assert plan.drawn == plan.subset_size == 40
    for world_size in (1, 3, 7):
        shards = [plan.shard(rank, world_size) for rank in range(world_size)]
        assert len(np.unique(np.concatenate([s.indices[s.weights > 0] for s in shards]))) == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scheme": "carried", "stratify": "class"},
            'stratify="class" has an effect only with scheme="systematic"',
        ),
        ({"scheme": "carried", "method": "el2n"}, 'scheme="carried" changes the subset in every epoch'),
        ({"scheme": "bernoulli", "method": "rs2"}, "scheme='bernoulli'"),
    ],
)
def test_what_does_not_go_with_carried_draws_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        PruningConfig(**options)
    assert message in str(refused.value)
