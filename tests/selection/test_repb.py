"""RePB's rule against its definition, written down plainly: a run of epochs, told example by example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.selection import PruningConfig, plan_epoch
from sadp_dist.store import connect

N = 400


def config(**settings: Any) -> PruningConfig:
    return PruningConfig(method="repb", **settings)


@settings(max_examples=10)
@given(st.sampled_from([None, 0.3, 0.9]), st.integers(0, 2**32))
def test_a_run_keeps_what_was_not_below_and_weighs_by_the_epochs_missed(z: float | None, seed: int) -> None:
    random = np.random.default_rng(seed)
    rule = config(ratio=0.3, keep_probability=z, epochs=16, seed=seed)
    store = connect("memory:", run=f"repb-{seed}-{z}", dataset_size=N, pruning=rule)
    below, times = [False] * N, [0] * N
    ratios = []
    for epoch in range(16):
        shard = store.plan(epoch=epoch)
        drawn = set(shard.indices.tolist())
        may_go = sum(below)
        if epoch >= 14:
            wanted = float(N)
        elif z is not None:
            wanted = N - (1 - z) * may_go
        else:
            wanted = N - min(0.3 * N * 16 / 13, may_go) if epoch else N
        assert shard.drawn == pytest.approx(wanted, abs=1)
        assert all(i in drawn for i in range(N) if not below[i])
        for i, weight in zip(shard.indices.tolist(), shard.weights.tolist(), strict=True):
            times[i] += 1
            assert weight == pytest.approx((epoch + 1) / times[i])
        assert shard.subset_size == N
        found = (random.random(shard.drawn) < 0.3).astype(np.float32)  # 1 is not below its window
        for i, new in zip(shard.indices.tolist(), found.tolist(), strict=True):
            below[i] = new == 0
        for some in np.array_split(np.arange(shard.drawn), 3):
            store.push(shard.indices[some], found[some], epoch=epoch)
        if epoch == 3:
            store.push(shard.indices, found, epoch=epoch)  # a repeat, which counts once
        ratios.append(shard.ratio)
    if z is None:
        assert np.mean(ratios) == pytest.approx(0.3, abs=2e-3)
    store.close()


def test_those_below_are_kept_with_the_same_probability_whatever_their_count() -> None:
    scores = np.tile([1.0, 1.5, 2.0, 7.0, 7.5, np.nan], 100).astype(np.float32)
    often = np.zeros(600)
    for seed in range(500):
        plan = plan_epoch(scores, 8, config(keep_probability=0.4, epochs=16, seed=seed))
        often[plan.indices] += 1
    may_go = np.isin(scores, [1.0, 2.0, 7.0])
    assert (often[~may_go] == 500).all()
    assert (abs(often[may_go] - 200) < 5 * np.sqrt(500 * 0.4 * 0.6)).all()
    weights = dict(zip(scores[plan.indices].tolist(), plan.weights.tolist(), strict=True))
    assert weights[1.5] == 9 / 2
    assert weights[7.5] == 9 / 8
    assert (plan.weights[np.isnan(scores[plan.indices])] == 9).all()


def test_where_an_example_is_below_in_every_epoch_its_weights_add_up_to_the_epochs() -> None:
    """Cumulative rescaling: what an example weighs over a run is as much as on full data, on average."""
    epochs, total = 400, np.zeros(N)
    rule = config(keep_probability=0.5, epochs=epochs, delta=1.0)
    scores = np.full(N, np.nan, np.float32)
    for epoch in range(epochs):
        plan = plan_epoch(scores, epoch, rule)
        total[plan.indices] += plan.weights
        new = np.zeros(plan.drawn, np.float32)
        combine = rule.rule.combine
        assert combine is not None
        scores[plan.indices] = combine(scores[plan.indices], new, epoch)
    assert total.mean() == pytest.approx(epochs, rel=0.02)
