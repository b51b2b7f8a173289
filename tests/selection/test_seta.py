"""SeTa's rule against its definition, written down plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.selection import PruningConfig, plan_epoch

CENTRES = (0.01, 0.4, 1.0, 2.1, 4.0)
"""Of five groups that any clustering finds."""
OF_GROUP = np.random.default_rng(0).permutation(np.repeat(np.arange(5), [400, 250, 200, 100, 50]))
LOSSES = (np.array(CENTRES)[OF_GROUP] * np.random.default_rng(1).uniform(0.97, 1.03, 1000)).astype(np.float32)


def config(**settings: Any) -> PruningConfig:
    return PruningConfig(method="seta", **settings)


def groups_of(epoch: int, epochs: int, groups: int, scale: float) -> range:
    """Which groups an epoch trains on."""
    if epoch == 0 or epoch + 1 > 0.875 * epochs:
        return range(groups)
    size = round(groups * scale)
    first = epoch % (groups - size + 1)
    return range(first, first + size)


@settings(max_examples=80)
@given(
    st.integers(0, 31),
    st.sampled_from([0.2, 0.4, 0.6, 0.9, 1.0]),
    st.floats(0.05, 0.95),
    st.integers(0, 2**32),
)
def test_an_epoch_has_its_share_of_the_groups_in_its_window(
    epoch: int, scale: float, ratio: float, seed: int
) -> None:
    plan = plan_epoch(LOSSES, epoch, config(ratio=ratio, epochs=32, window_scale=scale, seed=seed))
    inside = np.isin(OF_GROUP, list(groups_of(epoch, 32, 5, scale)))
    assert inside[plan.indices].all()
    assert plan.drawn == min(round((1 - ratio) * 1000), inside.sum())
    assert plan.ratio == pytest.approx(1 - plan.drawn / 1000, abs=0.5e-3)
    np.testing.assert_array_equal(plan.weights, 1)
    assert plan.weighted_size == plan.drawn


def test_inside_the_window_all_are_drawn_as_often() -> None:
    draws = 600
    often = np.zeros(1000)
    for seed in range(draws):
        plan = plan_epoch(LOSSES, 2, config(ratio=0.5, epochs=32, window_scale=0.6, seed=seed))
        often[plan.indices] += 1
    inside = np.isin(OF_GROUP, [2, 3, 4])
    assert (often[~inside] == 0).all()
    assert (often[inside] == draws).all()  # 350 of the 500 asked for
    often[:] = 0
    for seed in range(draws):
        plan = plan_epoch(LOSSES, 3, config(ratio=0.5, epochs=32, window_scale=0.6, seed=seed))
        often[plan.indices] += 1
    p = 500 / 850  # the groups of 400, 250 and 200
    assert (often[OF_GROUP > 2] == 0).all()
    assert (abs(often[OF_GROUP <= 2] - p * draws) < 5 * np.sqrt(draws * p * (1 - p))).all()


def test_the_window_passes_from_easy_to_hard_and_begins_again() -> None:
    rule = config(keep_probability=1.0, epochs=32, window_scale=0.4)
    found = [sorted(set(OF_GROUP[plan_epoch(LOSSES, epoch, rule).indices].tolist())) for epoch in range(32)]
    assert found[:9] == [[0, 1, 2, 3, 4], *([g, g + 1] for g in (1, 2, 3, 0, 1, 2, 3, 0))]
    assert all(groups == [0, 1, 2, 3, 4] for groups in found[28:])


def test_with_a_probability_given_the_ratio_has_no_say() -> None:
    for epoch in (0, 1, 30):
        plans = [
            plan_epoch(LOSSES, epoch, config(keep_probability=0.9, ratio=ratio, epochs=32))
            for ratio in (0.1, 0.8)
        ]
        np.testing.assert_array_equal(plans[0].indices, plans[1].indices)
    assert plans[0].drawn == 900  # the last epochs leave out at random alone


def test_before_there_are_losses_it_draws_by_chance() -> None:
    assert plan_epoch(np.full(1000, np.nan), 0, config(ratio=0.3, epochs=8)).drawn == 700
    assert plan_epoch(np.full(1000, np.nan), 1, config(ratio=0.3, epochs=8)).drawn == 700
