"""The variance that the report shows is that of the estimate, and what it is made from is enough for it."""

from __future__ import annotations

import numpy as np
import pytest

from sadp_dist.report.gradient_variance import (
    estimate_variance,
    relative_variance,
    relative_variance_of,
)
from sadp_dist.report.run_groups import Spread
from sadp_dist.selection import PruningConfig, draw, selection_probabilities
from sadp_dist.store import connect

PRUNING = {"min_probability": 0.1, "zero_scores": "floor", "unseen": "mean"}


def test_the_variance_is_what_independent_draws_scatter_by():
    G = np.random.default_rng(0).lognormal(size=200)
    p = selection_probabilities(G, 60, 0.1)
    estimates = []
    for epoch in range(4000):
        drawn = draw(p, seed=1, epoch=epoch, scheme="bernoulli")
        estimates.append((G[drawn] / p[drawn]).sum() / len(G))
    assert np.mean(estimates) == pytest.approx(G.mean(), rel=0.02)
    assert np.var(estimates) == pytest.approx(estimate_variance(G, p), rel=0.1)


def test_scores_that_differ_make_it_less_than_uniform_sampling_has_and_equal_ones_do_not():
    scores = np.random.default_rng(0).lognormal(sigma=1.5, size=1000)
    assert 0 < relative_variance(scores, 500, PRUNING) < 0.3
    assert relative_variance(np.ones(1000), 500, PRUNING) == pytest.approx(1)
    assert relative_variance(scores, 1000, PRUNING) is None  # all are drawn: nothing scatters
    assert relative_variance(np.full(10, np.nan), 5, PRUNING) is None


@pytest.mark.parametrize("zeros", [0, 300])
@pytest.mark.parametrize("unseen", [0, 500])
def test_what_an_epochs_record_keeps_is_enough_for_it(zeros, unseen):
    N = 3000
    scores = np.random.default_rng(0).lognormal(sigma=1.2, size=N).astype(np.float32)
    scores[:zeros] = 0
    store = connect("memory:", "run", N, PruningConfig(ratio=0.5, epochs=2, min_probability=0.1))
    first = store.plan(0)
    store.push(np.arange(N - unseen), scores[: N - unseen], epoch=0)
    second = store.plan(1)
    before, record = store.history()
    assert relative_variance_of(before, N, PRUNING) == 1  # no scores: all p are S / N
    assert first.subset_size == second.subset_size == record.subset_size

    known = np.where(np.arange(N) < N - unseen, scores, np.nan)
    exact = relative_variance(known, record.subset_size, PRUNING)
    assert relative_variance_of(record, N, PRUNING) == pytest.approx(exact, rel=0.15)


def test_runs_of_different_lengths_are_averaged_as_far_as_they_go():
    spread = Spread.over([[1.0, 2.0, 3.0], [3.0, np.nan]])
    np.testing.assert_allclose(spread.mean, [2, 2, 3])
    np.testing.assert_allclose(spread.sd, [np.sqrt(2), np.nan, np.nan])
