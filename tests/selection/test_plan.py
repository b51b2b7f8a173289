"""The plan of an epoch: unbiased, the same for every world size, and a function of its arguments alone."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import (
    RULES,
    EpochPlan,
    PruningConfig,
    Rule,
    ScoreTable,
    Shard,
    plan_epoch,
    selection_probabilities,
)

RNG = np.random.default_rng(11)
SCORES = RNG.lognormal(size=61).astype(np.float32)
LABELS = RNG.integers(0, 3, 61)
PAPER: dict[str, Any] = {"schedule": "paper", "floor": "absolute"}


def shards_of(plan: EpochPlan, world_size: int) -> list[Shard]:
    return [plan.shard(rank, world_size) for rank in range(world_size)]


def estimate(shards: list[Shard], x: np.ndarray) -> float:
    return sum(float(s.weights @ x[s.indices]) for s in shards) / shards[0].subset_size


@pytest.mark.parametrize(
    "draws",
    [{"scheme": "bernoulli"}, {"scheme": "systematic"}, {"stratify": "class"}, {"stratify": "class-score"}],
)
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_weighted_mean_of_all_shards_is_unbiased(draws: dict[str, Any], world_size: int) -> None:
    epochs = 2000
    config = PruningConfig(ratio=0.59, epochs=epochs, min_probability=0.1, seed=5, **draws)
    x = SCORES * np.random.default_rng(0).normal(1, 1, len(SCORES))
    estimates, padding = np.empty(epochs), 0
    for epoch in range(epochs):
        shards = shards_of(plan_epoch(SCORES, epoch, config, LABELS), world_size)
        estimates[epoch] = estimate(shards, x)
        padding += sum(np.count_nonzero(s.weights == 0) for s in shards)
    assert (padding > 0) == (world_size > 1)
    standard_error = estimates.std(ddof=1) / np.sqrt(epochs)
    assert abs(estimates.mean() - x.mean()) < 3 * standard_error
    assert standard_error < 0.05 * abs(x).mean()


@settings(max_examples=60)
@given(
    st.integers(1, 300),
    st.floats(0, 1),
    st.sampled_from(["bernoulli", "systematic"]),
    st.integers(0, 2**64 - 1),
)
def test_every_world_size_gets_the_same_examples_and_weights(
    n: int, ratio: float, scheme: str, seed: int
) -> None:
    scores = np.random.default_rng(n).lognormal(size=n)
    plan = plan_epoch(scores, 0, PruningConfig(ratio=min(ratio, 0.999), scheme=scheme, seed=seed))

    def drawn(world_size: int) -> list[tuple[int, float]]:
        shards = shards_of(plan, world_size)
        assert all(
            (s.subset_size, s.dataset_size, s.drawn) == (plan.subset_size, n, plan.drawn) for s in shards
        )
        pairs = [pair for s in shards for pair in zip(s.indices.tolist(), s.weights.tolist(), strict=True)]
        return sorted(pair for pair in pairs if pair[1] > 0)

    assert len(drawn(1)) == plan.drawn
    assert drawn(1) == drawn(2) == drawn(4)


def test_a_plan_is_a_function_of_its_arguments() -> None:
    config = PruningConfig(ratio=0.5, epochs=3, seed=1)
    plan = plan_epoch(SCORES, 1, config)
    again = plan_epoch(SCORES.copy(), 1, config.replace())
    np.testing.assert_array_equal(again.indices, plan.indices)
    np.testing.assert_array_equal(again.weights, plan.weights)
    for other in (plan_epoch(SCORES, 2, config), plan_epoch(SCORES, 1, config.replace(seed=2))):
        assert not np.array_equal(np.sort(other.indices), np.sort(plan.indices))


def test_an_example_keeps_its_place_whatever_the_scores_are() -> None:
    config = PruningConfig(ratio=0.5, seed=1)
    one, other = (plan_epoch(scores, 0, config).indices for scores in (SCORES, SCORES[::-1]))
    both = np.intersect1d(one, other)
    assert 10 < len(both) < len(one)
    np.testing.assert_array_equal(one[np.isin(one, both)], other[np.isin(other, both)])


def test_indices_weights_and_sizes_are_what_they_say() -> None:
    config = PruningConfig(ratio=0.35, max_ratio=0.55, epochs=10, **PAPER, min_probability=0.25)
    plan = plan_epoch(SCORES, 9, config)
    S = round(0.45 * 61)
    p = selection_probabilities(SCORES, S, 0.25)
    assert (plan.epoch, plan.ratio, plan.subset_size, plan.dataset_size) == (9, 0.55, S, 61)
    assert plan.indices.dtype == np.int32 and plan.weights.dtype == np.float64
    assert plan.shard(0, 1).indices.dtype == np.int64
    assert len(set(plan.indices)) == plan.drawn == S
    np.testing.assert_allclose(plan.weights, S / (61 * p[plan.indices]))
    assert plan.weights.max() <= S / 61 / 0.25
    assert plan.report.gamma > 0 and not plan.report.floor_in_force


def test_unseen_examples_take_the_mean_or_the_max_of_the_seen() -> None:
    scores = SCORES.copy()
    scores[::3] = np.nan
    for unseen, stand_in in (("mean", np.nanmean(scores.astype(np.float64))), ("max", np.nanmax(scores))):
        config = PruningConfig(ratio=0.5, unseen=unseen)
        plan = plan_epoch(scores, 0, config)
        filled = plan_epoch(np.where(np.isnan(scores), np.float32(stand_in), scores), 0, config)
        np.testing.assert_array_equal(plan.indices, filled.indices)
        np.testing.assert_array_equal(plan.weights, filled.weights)
    assert np.isnan(scores).any(), "the caller's scores were changed"


def test_with_no_scores_every_example_is_as_likely() -> None:
    plan = plan_epoch(np.full(61, np.nan, np.float32), 0, PruningConfig(ratio=0.5, min_probability=0.3))
    assert plan.drawn == plan.subset_size == 30
    np.testing.assert_allclose(plan.weights, 1, rtol=1e-14)


@pytest.mark.parametrize("wrong", [-1.0, np.inf])
def test_a_wrong_score_is_named_also_among_unseen_ones(wrong: float) -> None:
    scores = SCORES.copy()
    scores[[0, 7]] = np.nan, wrong
    with pytest.raises(UsageError, match=r"scores\[7\]=(-1.0|inf) is not a score"):
        plan_epoch(scores, 0, PruningConfig())


@pytest.mark.filterwarnings("ignore:a pruning ratio of 1")
def test_an_epoch_that_prunes_everything_is_empty() -> None:
    config = PruningConfig(ratio=0.5, max_ratio=1.0, epochs=4, **PAPER, min_probability=0.2)
    plan = plan_epoch(SCORES, 3, config)
    assert plan.drawn == plan.subset_size == 0
    assert not plan.report.floor_in_force
    for s in shards_of(plan, 3):
        assert len(s.indices) == len(s.weights) == 0


@pytest.mark.parametrize("scheme", ["bernoulli", "systematic"])
def test_one_example_and_fewer_examples_than_ranks(scheme: str) -> None:
    for n in (1, 3):
        plan = plan_epoch(np.ones(n, np.float32), 0, PruningConfig(ratio=0.0, scheme=scheme))
        assert plan.drawn == n
        shards = shards_of(plan, 4)
        assert [len(s.indices) for s in shards] == [1] * 4
        assert sum(s.weights.sum() for s in shards) == n


def test_a_floor_above_the_kept_share_is_recorded() -> None:
    plan = plan_epoch(SCORES, 0, PruningConfig(ratio=0.8, **PAPER, min_probability=0.5))
    assert plan.report.floor_in_force
    np.testing.assert_allclose(plan.weights, 1)


def test_every_class_gets_its_share_when_stratified() -> None:
    rng = np.random.default_rng(4)
    scores, labels = rng.lognormal(size=5000), rng.integers(0, 50, 5000)
    S = 2500
    share = np.bincount(labels, weights=selection_probabilities(scores, S, 0.1))
    for stratify in ("class", "class-score"):
        config = PruningConfig(ratio=0.5, floor="absolute", min_probability=0.1, stratify=stratify)
        plan = plan_epoch(scores, 0, config, labels)
        assert plan.drawn == S
        assert np.abs(np.bincount(labels[plan.indices], minlength=50) - share).max() < 1


def test_strata_of_class_and_score_estimate_better_than_of_class_and_these_better_than_none() -> None:
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 10, 2000)
    scores = rng.lognormal(size=2000)
    gradient = scores * (labels + np.sqrt(scores))

    def variance(**draws: str) -> float:
        config = PruningConfig(ratio=0.7, epochs=300, min_probability=0.1, **draws)
        plans = (plan_epoch(scores, epoch, config, labels) for epoch in range(300))
        return float(np.var([estimate([plan.shard(0, 1)], gradient) for plan in plans]))

    bernoulli, systematic = variance(scheme="bernoulli"), variance()
    by_class, by_class_and_score = variance(stratify="class"), variance(stratify="class-score")
    assert by_class_and_score < 0.8 * by_class < 0.8 * 0.8 * systematic
    assert systematic < 0.8 * bernoulli


def test_random_pruning_is_uniform_and_at_one_ratio() -> None:
    config = PruningConfig(ratio=0.4, max_ratio=0.8, epochs=10, method="random")
    for epoch in (0, 9):
        plan = plan_epoch(np.full(100, np.nan, np.float32), epoch, config)
        assert plan.ratio == 0.4
        assert plan.drawn == 60
        np.testing.assert_array_equal(plan.weights, 1)


def test_full_data_is_every_example_with_weight_one() -> None:
    plan = plan_epoch(SCORES, 0, PruningConfig(ratio=0.4, method="full"))
    assert plan.ratio == 0
    np.testing.assert_array_equal(np.sort(plan.indices), np.arange(61))
    np.testing.assert_array_equal(plan.weights, 1)
    assert not np.array_equal(plan.indices, np.arange(61)), "it is not shuffled"


class Half(Rule):
    """p = S / N for all, with the weights and the draw that a test asks for."""

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> np.ndarray:
        return np.full(len(table), subset_size / len(table))


class ScoreTimesTen(Half):
    """Weights of its own, and a fixed subset."""

    weighting = "one"
    fixed = True

    def weights(
        self, table: ScoreTable, drawn: np.ndarray, p: np.ndarray, subset_size: int, epoch: int
    ) -> np.ndarray:
        return 10.0 * table.scores[drawn]


@pytest.mark.parametrize(
    ("weighting", "w", "of"), [("importance", 1.0, 30), ("inverse", 61 / 30, 61), ("one", 1.0, 30)]
)
def test_weights_and_what_a_weighted_sum_is_divided_by_are_the_rules(
    monkeypatch: pytest.MonkeyPatch, weighting: str, w: float, of: int
) -> None:
    monkeypatch.setitem(RULES, "half", Half)
    monkeypatch.setattr(Half, "weighting", weighting)
    plan = plan_epoch(SCORES, 0, PruningConfig(ratio=31 / 61, method="half"))
    np.testing.assert_allclose(plan.weights, w)
    shard = plan.shard(0, 1)
    assert (plan.subset_size, plan.weighted_size, shard.subset_size, shard.drawn) == (30, of, of, 30)


def test_a_rule_may_weigh_by_the_score_and_draw_the_same_subset_in_every_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, "half", ScoreTimesTen)
    pruning = PruningConfig(ratio=0.5, method="half", epochs=4, seed=5)
    first, *others = (plan_epoch(SCORES, epoch, pruning) for epoch in range(4))
    np.testing.assert_array_equal(first.weights, 10 * SCORES[first.indices])
    for other in others:
        np.testing.assert_array_equal(np.sort(other.indices), np.sort(first.indices))
        assert (other.indices != first.indices).any()  # in another order


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 5}, r"epoch=5 is outside \[0, 4\], as epochs=5"),
        ({"epoch": -1}, r"epoch=-1 is outside"),
        ({"scores": np.ones((2, 2))}, r"scores has shape \(2, 2\)"),
        ({"stratify": "class"}, r"stratify=\"class\" needs labels"),
        (
            {"stratify": "class", "labels": [1, 2]},
            r"labels is int64 \(2,\); it must be integers of shape \(61,\)",
        ),
        ({"stratify": "class", "labels": np.ones(61)}, r"labels is float64 \(61,\)"),
    ],
)
def test_what_does_not_fit_a_plan_is_refused(arguments: dict[str, Any], message: str) -> None:
    config = PruningConfig(epochs=5, stratify=arguments.get("stratify", "none"))
    with pytest.raises(UsageError, match=message):
        plan_epoch(
            arguments.get("scores", SCORES), arguments.get("epoch", 0), config, arguments.get("labels")
        )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"method": "sdap"}, r"method='sdap' is not known; .*did you mean \"sadp\"\?"),
        ({"scheme": "bernuolli"}, r"did you mean \"bernoulli\"\?"),
        ({"stratify": "clas"}, r"did you mean \"class\"\?"),
        ({"zero_scores": "flor"}, r"did you mean \"floor\"\?"),
        ({"unseen": "median"}, r"unseen='median' is not one of \"mean\", \"max\""),
        ({"min_probability": -0.1}, r"min_probability=-0.1 is not a number in \[0, 1\]"),
        ({"min_probability": float("nan")}, r"min_probability=nan is not a number in"),
        ({"seed": -1}, r"seed=-1 is not an integer in"),
        ({"seed": 2**64}, r"is not an integer in"),
        (
            {"method": "infobatch", "keep_probability": 0},
            r"keep_probability=0 is not a number in \(0, 1\]",
        ),
        ({"method": "repb", "delta": 1.5}, r"delta=1.5 is not a number in \[0, 1\]"),
        ({"method": "seta", "groups": 0}, r"groups=0 is not an integer of at least 1"),
        ({"method": "seta", "window_scale": True}, r"window_scale=True is not a number in \(0, 1\]"),
        ({"method": "rcap", "temperature": 0}, r"temperature=0 is not a number in \[0.05, 1000\]"),
        ({"temperature": 5}, r"temperature is an option of method=\"rcap\", and method is \"sadp\"; remove"),
        (
            {"method": "random", "tracking_epochs": 3},
            r"tracking_epochs is an option of method=\"forgetting\" or method=\"el2n\" or method=\"grand\"",
        ),
        ({"temprature": 5, "method": "rcap"}, r"'temprature'.*did you mean \"temperature\"\?"),
        (
            {"scheme": "bernoulli", "stratify": "class"},
            r"stratify=\"class\" has an effect only with scheme=\"systematic\"",
        ),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        PruningConfig(**setting)
    assert "\n" not in str(refused.value)


def test_a_configuration_is_compared_pickled_and_copied_with_the_options_of_its_rule() -> None:
    config = PruningConfig(method="seta", ratio=0.3, groups=9)
    assert config.to_dict()["groups"] == 9
    assert config.rule.config is config
    assert pickle.loads(pickle.dumps(config)) == config == PruningConfig.parse(config.to_dict())
    assert config != config.replace(groups=8) == PruningConfig(method="seta", ratio=0.3, groups=8)
    with pytest.raises(UsageError, match='groups is an option of method="seta"'):
        config.replace(method="sadp")


def test_options_of_other_rules_that_a_file_of_version_0_2_has_are_left_out() -> None:
    saved = {"method": "seta", "groups": None, "temperature": 2.0, "tracking_epochs": None, "delta": 0.5}
    expected = PruningConfig(method="seta", delta=0.5)
    assert PruningConfig.parse(PruningConfig.keys_in_use(saved)) == expected
    with pytest.raises(UsageError, match="unknown key 'temprature'"):
        PruningConfig.parse(PruningConfig.keys_in_use({**saved, "temprature": None}))
