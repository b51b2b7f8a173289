"""Rules that keep a fixed subset, and those that change the number of epochs, against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import RULES, PruningConfig, ScoreTable, plan_epoch
from sadp_dist.selection.rules.forgetting import NEVER_LEARNED

TRACKED = ["el2n", "grand", "forgetting"]


def config(method: str, **settings: Any) -> PruningConfig:
    tracking = {"tracking_epochs": 2} if method in TRACKED else {}
    return PruningConfig(method=method, **{"epochs": 4, **tracking, **settings})


SCORES = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 2.5]), st.floats(0, 2.0**100, width=32)), min_size=1, max_size=60
)


@settings(max_examples=100)
@given(SCORES, st.data(), st.sampled_from([np.float32, np.float64]))
def test_the_largest_are_kept_and_equal_ones_share(scores, data, dtype):
    G = np.array(scores, dtype)
    S = data.draw(st.integers(0, len(G)))
    p = config("el2n").rule.probabilities(ScoreTable.of_scores(G), S, 0)
    ranked = sorted(G.tolist(), reverse=True)
    for score, chance in zip(G.tolist(), p.tolist(), strict=True):
        places = [place for place, other in enumerate(ranked) if other == score]
        assert chance == pytest.approx(sum(place < S for place in places) / len(places))


@pytest.mark.parametrize("method", TRACKED)
@settings(max_examples=25)
@given(SCORES, st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_after_tracking_every_epoch_has_the_same_subset_of_exactly_s(method, scores, ratio, seed):
    G = np.array(scores, np.float32)
    pruning = config(method, ratio=min(ratio, 0.99), seed=seed)
    N, S = len(G), round((1 - pruning.ratio) * len(G))
    assert pruning.run_epochs == 6
    for epoch in (0, 1):
        plan = plan_epoch(np.full(N, np.nan), epoch, pruning)
        assert (plan.drawn, plan.ratio, plan.weights.tolist()) == (N, 0, [1.0] * N)
    plans = [plan_epoch(G, epoch, pruning) for epoch in range(2, 6)]
    kept = set(plans[0].indices.tolist())
    rank = np.floor(G) if method == "forgetting" else G
    left = [i for i in range(N) if i not in kept]
    assert len(kept) == S
    assert not kept or not left or min(rank[list(kept)]) >= max(rank[left])
    for plan in plans:
        assert set(plan.indices.tolist()) == kept
        assert (plan.drawn, plan.weighted_size, plan.weights.tolist()) == (S, S, [1.0] * S)


def test_equal_examples_are_chosen_by_the_seed_and_all_alike():
    often = np.zeros(40)
    G = np.repeat(np.float32([0, 1]), 40)[20:60]  # 20 of 0, 20 of 1
    for seed in range(400):
        often[plan_epoch(G, 3, config("el2n", ratio=0.75, seed=seed)).indices] += 1
    assert (often[:20] == 0).all()
    assert (abs(often[20:] - 200) < 5 * np.sqrt(400 * 0.25)).all()


def combined(method: str, given_scores: list[float], **settings: Any) -> float:
    tracking = {"tracking_epochs": max(len(given_scores), 1)} if method in TRACKED else {}
    pruning = config(method, **tracking, **settings)
    score = np.array([np.nan], np.float32)
    for epoch, new in enumerate(given_scores):
        score = np.float32(pruning.rule.combine(score, np.array([new], np.float32), epoch))
    return float(score[0])


@settings(max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_forgetting_counts_how_often_right_became_wrong(right):
    score = combined("forgetting", [float(not was) for was in right])
    if not any(right):
        assert score == NEVER_LEARNED
    else:
        story = "".join("r" if was else "w" for was in right)
        assert config("forgetting").rule.rank(np.array([score])) == story.count("rw")
        assert score % 1 == (0.5 if story.endswith("w") else 0)


@settings(max_examples=100)
@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=12), st.sampled_from(["el2n", "grand"]))
def test_the_others_take_the_mean_over_tracking(scores, method):
    assert combined(method, scores) == pytest.approx(np.mean(scores), rel=1e-5, abs=1e-6)


@settings(max_examples=100)
@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=12))
def test_batch_losses_are_averaged_with_weights_that_fade(losses):
    n = len(losses)
    expected = sum(0.1 * 0.9 ** (n - 1 - k) * loss for k, loss in enumerate(losses))
    assert combined("batch-loss", losses) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("method", [name for name in RULES if RULES[name].combine is not None])
@settings(max_examples=50)
@given(
    st.one_of(st.just(np.nan), st.floats(0, 1e6, width=32)),
    st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=8),
    st.integers(0, 5),
)
def test_a_larger_score_never_leaves_a_smaller_one_behind(method, before, new, epoch):
    found = config(method).rule.combine(
        np.full(len(new), before, np.float32), np.sort(np.array(new, np.float32)), epoch
    )
    found = np.asarray(found, np.float32)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("method", TRACKED)
def test_what_is_pushed_after_tracking_changes_nothing_that_is_known(method):
    pruning = config(method)
    before, new = np.array([3.5, np.nan], np.float32), np.ones(2, np.float32)
    np.testing.assert_array_equal(pruning.rule.combine(before, new, 2), [3.5, 1])


@pytest.mark.parametrize(
    ("ratio", "epochs", "reduced"), [(0.5, 10, 5), (0.3, 200, 140), (0.9, 3, 1), (0.0, 4, 4)]
)
def test_reduced_epoch_has_fewer_epochs_of_all_data(ratio, epochs, reduced):
    pruning = PruningConfig(method="reduced-epoch", ratio=ratio, epochs=epochs)
    assert pruning.run_epochs == reduced
    assert pruning.planned_ratio == pytest.approx(1 - reduced / epochs)
    plan = plan_epoch(np.full(9, np.nan), reduced - 1, pruning)
    assert (plan.drawn, plan.weights.tolist()) == (9, [1.0] * 9)
    with pytest.raises(UsageError, match=r"epoch=\d+ is outside"):
        plan_epoch(np.full(9, np.nan), reduced, pruning)


def test_batch_losses_are_pruned_by_as_infobatch_prunes_losses():
    G = np.random.default_rng(3).gamma(0.5, size=500).astype(np.float32)
    plans = [plan_epoch(G, 1, PruningConfig(method=m, epochs=8)) for m in ("batch-loss", "infobatch")]
    np.testing.assert_array_equal(plans[0].indices, plans[1].indices)
    np.testing.assert_array_equal(plans[0].weights, plans[1].weights)


def test_tracking_takes_an_epoch_at_least():
    with pytest.raises(UsageError, match="tracking_epochs=0 is not an integer of at least 1"):
        config("el2n", tracking_epochs=0)
