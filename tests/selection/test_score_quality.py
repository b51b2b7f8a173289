"""How well the scores of a run serve it: against the definition over all examples."""

from __future__ import annotations

import numpy as np
import pytest

from sadp_dist.cli.stats_table import figures_table
from sadp_dist.selection import PruningConfig, ScoreTable, selection_probabilities
from sadp_dist.selection.plan import plan_table
from sadp_dist.selection.score_quality import in_words, score_quality
from sadp_dist.store import connect

N = 20_000


@pytest.mark.parametrize("θ", [1.0, 0.5])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_noise_ratio_is_that_of_all_examples(noise: float, θ: float) -> None:
    rng = np.random.default_rng(1)
    known = rng.lognormal(0, 1, N).astype(np.float32)
    now = (known * rng.lognormal(0, noise, N)).astype(np.float32)
    config = PruningConfig(ratio=0.7, epochs=4, min_probability=0.1, weight_exponent=θ)
    table = ScoreTable.empty(N, state=config.rule.arrays)
    table.merge(np.arange(N), known, 0)
    plan = plan_table(table, 1, config)
    S = plan.subset_size
    p = selection_probabilities(known, S, 0.1 * S / N)
    table.merge(plan.indices.astype(np.int64), now[plan.indices], 1)
    squares = now.astype(float) ** 2
    expected = (squares / p).sum() / (squares * N / S).sum()
    found = score_quality(table, plan, importance=True)
    assert found.noise_ratio == pytest.approx(expected, rel=0.15)
    assert found.rank_correlation == pytest.approx(1.0 if noise == 0 else 0.7, abs=0.1)


def test_uniform_draws_have_a_ratio_of_one_and_other_weights_none() -> None:
    rng = np.random.default_rng(2)
    config = PruningConfig(method="random", ratio=0.5, epochs=2)
    table = ScoreTable.empty(N)
    plan = plan_table(table, 0, config)
    table.merge(plan.indices.astype(np.int64), rng.random(plan.drawn).astype(np.float32), 0)
    assert score_quality(table, plan, importance=True).noise_ratio == pytest.approx(1)
    assert score_quality(table, plan, importance=False).noise_ratio is None
    assert score_quality(ScoreTable.empty(N), plan, importance=True).noise_ratio is None


def test_carried_draws_tell_the_ratio_only_where_the_subset_stands_for_all() -> None:
    rng = np.random.default_rng(0)
    hard = rng.lognormal(0, 1, N)
    config = PruningConfig(method="sadp-plus", ratio=0.9, epochs=100)
    table, last, shown = ScoreTable.empty(N, state=config.rule.arrays), None, {}
    for epoch in range(60):
        last = plan_table(table, epoch, config, last)
        p = config.rule.probabilities(config.rule.known(table), last.subset_size, epoch)
        true = (hard**2 / p).sum() / (hard**2 * N / last.subset_size).sum()
        scores = (hard * rng.lognormal(0, 1, N)).astype(np.float32)[last.indices]
        table.merge(last.indices.astype(np.int64), scores, epoch, config.rule.combine)
        found = score_quality(table, last, importance=True).noise_ratio
        if found is not None:
            shown[epoch] = found / true
    assert not set(range(6, 20)) & set(shown)  # examples of small p have not come again
    late = [ratio for epoch, ratio in shown.items() if epoch >= 30]
    assert len(late) > 20 and np.mean(late) == pytest.approx(1, abs=0.15)


def test_what_it_means_is_said_in_one_sentence_in_the_table_of_stats() -> None:
    assert in_words(None) is None
    assert in_words(0.5) == "choosing by score makes a step as good as 2 random ones"
    assert in_words(1.0) == "scores do not help in this run: use method=rs2"
    scores = np.random.default_rng(3).lognormal(0, 2, 500)
    store = connect("memory:", "said", 500, PruningConfig(ratio=0.5, epochs=4, weight_exponent=0.5))
    for epoch in range(3):
        index = store.plan(epoch).indices
        store.push(index, scores[index], epoch=epoch)
    stats = store.stats()
    assert stats.noise_ratio is not None and stats.noise_ratio < 0.8
    group = figures_table(stats.to_dict())
    assert str(group.renderables[0]) == f"run said: {in_words(stats.noise_ratio)}"
    assert store.history()[-1].noise_ratio == stats.noise_ratio
