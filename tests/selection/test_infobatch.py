"""InfoBatch's rule against its definition, written down plainly, and where it is there its authors' code."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection import RULES, PruningConfig, plan_epoch
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import BLOCK, LocalParts
from sadp_dist.selection.plan import plan_parts
from sadp_dist.selection.sharding import join

LOSSES = np.random.default_rng(3).gamma(0.5, size=1000).astype(np.float32)


def definition(losses: NDArray[np.float64], r: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eqs. 3 and 4 of the paper: the probability of each example to be kept, and its weight if it is."""
    p, weights = np.ones(len(losses)), np.ones(len(losses))
    for i, loss in enumerate(losses):
        if loss < losses.mean():
            p[i], weights[i] = 1 - r, 1 / (1 - r)
    return p, weights


def config(**settings: Any) -> PruningConfig:
    return PruningConfig(method="infobatch", **settings)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400), st.integers(0, 99), st.integers(0, 2**32))
def test_probabilities_are_those_of_the_definition(n: int, percent: int, seed: int) -> None:
    losses = np.random.default_rng(seed).gamma(0.5, size=n)
    r = percent / 100
    S = min(round((1 - r) * n), n - 1)  # N where the schedule leaves nothing out
    probability, capping = RULES["infobatch"].probability(LocalParts([Part(losses)]), S, config(ratio=r))
    expected, _ = definition(losses, r)
    np.testing.assert_allclose(probability(losses), expected, rtol=1e-12)
    assert capping.expected == round(expected.sum())
    assert capping.capped == np.count_nonzero(losses >= losses.mean())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(0, 2**64 - 1))
def test_a_plan_keeps_all_that_is_not_below_the_mean_and_weighs_as_the_paper(r: float, seed: int) -> None:
    plan = plan_epoch(LOSSES, 0, config(ratio=r, epochs=8, seed=seed))
    p, weights = definition(LOSSES.astype(float), r)
    assert plan.subset_size == round(p.sum())
    assert plan.drawn in (np.floor(p.sum()), np.ceil(p.sum()))
    assert set(np.flatnonzero(p == 1)) <= set(plan.indices.tolist())
    np.testing.assert_allclose(plan.weights, weights[plan.indices], rtol=1e-12)
    assert plan.shard(0, 1).subset_size == plan.weighted_size == 1000
    assert plan.ratio == pytest.approx(1 - plan.subset_size / 1000)


@pytest.mark.parametrize("scheme", ["systematic", "bernoulli"])
def test_the_weighted_mean_is_unbiased(scheme: str) -> None:
    epochs = 2000
    rule = config(ratio=0.6, epochs=epochs, scheme=scheme)
    x = LOSSES.astype(float) ** 2
    estimates = []
    for epoch in range(epochs // 2):  # the last of all have all data
        plan = plan_epoch(LOSSES, epoch, rule)
        estimates.append(plan.weights @ x[plan.indices] / plan.shard(0, 1).subset_size)
    standard_error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert 0 < standard_error < 0.01 * x.mean()
    assert abs(np.mean(estimates) - x.mean()) < 3 * standard_error


@pytest.mark.parametrize(("epochs", "pruned"), [(8, 7), (10, 8), (16, 14), (200, 175), (1, 0)])
def test_the_last_eighth_of_the_epochs_has_all_data(epochs: int, pruned: int) -> None:
    schedule = config(ratio=0.3, epochs=epochs).schedule
    assert [schedule.ratio(k) for k in range(1, epochs + 1)] == [0.3] * pruned + [0.0] * (epochs - pruned)
    last = plan_epoch(LOSSES, epochs - 1, config(ratio=0.3, epochs=epochs))
    assert (last.drawn, last.ratio) == (1000, 0)
    np.testing.assert_array_equal(last.weights, 1)


def test_before_there_are_losses_and_where_all_are_equal_nothing_is_left_out() -> None:
    for losses in (np.full(50, np.nan), np.full(50, 0.1, np.float32), np.zeros(50)):
        plan = plan_epoch(losses, 0, config(ratio=0.5, epochs=8))
        assert plan.drawn == 50
        np.testing.assert_array_equal(plan.weights, 1)


def test_an_example_without_a_loss_is_not_below_the_mean() -> None:
    losses = LOSSES.copy()
    losses[::7] = np.nan
    for seed in range(20):
        plan = plan_epoch(losses, 0, config(ratio=0.9, epochs=8, seed=seed))
        assert set(range(0, 1000, 7)) <= set(plan.indices.tolist())


def test_the_plan_has_the_same_bits_over_one_part_and_over_three() -> None:
    losses = np.random.default_rng(0).gamma(0.5, size=2 * BLOCK + 100).astype(np.float32)
    rule = config(ratio=0.5, epochs=8)
    whole = plan_epoch(losses, 1, rule)
    bounds = [0, BLOCK, 2 * BLOCK, len(losses)]
    parts = LocalParts([Part(losses[a:b], a, len(losses)) for a, b in pairwise(bounds)])
    figures = plan_parts(parts, 1, rule)
    indices, weights = join(parts.each("drawn", 1))
    assert figures == whole.figures()
    np.testing.assert_array_equal(indices, whole.indices)
    np.testing.assert_array_equal(weights, whole.weights)


def test_the_floor_holds_here_too_and_a_ratio_of_1_needs_it() -> None:
    with pytest.raises(UsageError, match='ratio=1 with method="infobatch" .*; use a ratio below 1'):
        config(ratio=1)
    plan = plan_epoch(LOSSES, 0, config(ratio=0.9, min_probability=0.25, epochs=8))
    assert plan.weights.max() / plan.weights.min() == pytest.approx(4)


@pytest.fixture
def authors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The class of the authors' own package, from a checkout of it."""
    path = Path(os.environ.get("SADP_DIST_PEERS") or ".", "InfoBatch", "infobatch", "infobatch.py")
    if not path.exists():
        pytest.skip("SADP_DIST_PEERS names no folder with a checkout of InfoBatch")
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    monkeypatch.setattr(_BaseDataLoaderIter, "__next__", _BaseDataLoaderIter.__next__)  # which it replaces
    spec = importlib.util.spec_from_file_location("infobatch_of_its_authors", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    infobatch: Callable[..., Any] = module.InfoBatch
    return infobatch


def test_subsets_are_distributed_as_those_of_the_authors(authors: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch")
    draws = 400
    theirs = authors(range(1000), num_epochs=draws, prune_ratio=0.5)
    theirs.scores = torch.from_numpy(LOSSES)
    np.random.seed(0)
    often = np.zeros((2, 1000))
    for epoch in range(draws):
        kept = np.asarray(theirs.prune())
        often[0, kept] += 1
        plan = plan_epoch(LOSSES, epoch, config(ratio=0.5, epochs=2 * draws))
        often[1, plan.indices] += 1
        assert abs(len(kept) - plan.drawn) <= 1
        weights = theirs.weights.numpy()[plan.indices]
    below = np.less(LOSSES, LOSSES.mean())
    assert (often[:, ~below] == draws).all()
    deviation = np.sqrt(draws * 0.25)
    assert (abs(often[:, below] - draws / 2) < 5 * deviation).all()
    kept_by_both = np.intersect1d(kept, plan.indices, return_indices=True)[2]
    np.testing.assert_allclose(plan.weights[kept_by_both], weights[kept_by_both], rtol=1e-6)
