"""RCAP's rule against its definition, written down plainly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, ScoreTable, plan_epoch
from sadp_dist.selection.rules.rcap import STEPS
from sadp_dist.store.engine.run import Run

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.choice(4, 1000, p=[0.5, 0.3, 0.15, 0.05])
LOSSES = (RANDOM.gamma(0.7, size=1000) * (1 + LABELS)).astype(np.float32)  # the rarer the class, the larger


def config(**settings: Any) -> PruningConfig:
    return PruningConfig(method="rcap", **settings)


def definition(
    losses: NDArray[np.floating], labels: NDArray[np.integer], S: float, T: float
) -> tuple[NDArray[np.float64], dict[int, float]]:
    """The probability of each example, and how many are wanted of each class."""
    N, classes = len(losses), sorted(set(labels.tolist()))
    most = math.log(max(len(classes), 2))
    clipped = np.array([most if math.isnan(loss) else min(float(loss), most) for loss in losses])
    clipped = (np.minimum(np.floor(clipped / most * STEPS), STEPS - 1) + 0.5) * most / STEPS
    n: dict[int, float] = {}
    while len(n) < len(classes):  # a class that would get more than it has gets all, and leaves the scene
        rest = S - sum(n.values())
        share = {
            c: math.sqrt(np.mean(labels == c) * clipped[labels == c].mean()) for c in classes if c not in n
        }
        wanted = {c: rest * share[c] / sum(share.values()) for c in share}
        over = {c: float(sum(labels == c)) for c in wanted if wanted[c] > sum(labels == c)}
        n |= over or wanted
    p = np.zeros(N)
    for c in classes:
        importance = np.exp(clipped[labels == c] / T)
        sure = np.zeros(len(importance), bool)
        while True:  # Eq. 28 of the SADP paper, within the class
            left = max(n[c] - sure.sum(), 0.0)
            of_class = np.where(sure, 1.0, left * importance / max(importance[~sure].sum(), 1e-300))
            if not (of_class > 1 + 1e-12).any():
                break
            sure |= of_class >= 1
        p[labels == c] = of_class
    assert len(p) == N
    return p, n


def probabilities(losses: NDArray[np.floating], labels: NDArray[np.integer], S: int, T: float) -> Any:
    return config(temperature=T).rule.probabilities(ScoreTable.of_scores(losses, labels), S, epoch=1)


@settings(max_examples=80)
@given(
    st.integers(1, 120),
    st.integers(1, 6),
    st.floats(0, 1),
    st.sampled_from([0.2, 1.0, 3.0]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_probabilities_are_those_of_the_definition(
    n: int, classes: int, ratio: float, T: float, unseen: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    losses, labels = random.gamma(0.5, size=n).astype(np.float32), random.integers(0, classes, n) * 2
    if unseen:
        losses[random.random(n) < 0.3] = np.nan
    S = round((1 - ratio) * n)
    found = probabilities(losses, labels, S, T)
    expected, wanted = definition(losses, labels, S, T)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.sum() == pytest.approx(S)
    for c, n_c in wanted.items():
        assert found[labels == c].sum() == pytest.approx(n_c)


@pytest.mark.parametrize("scheme", ["systematic", "bernoulli"])
def test_examples_are_drawn_as_often_as_they_should_be_and_weigh_1(scheme: str) -> None:
    draws, S = 500, 300
    expected, wanted = definition(LOSSES, LABELS, S, 1.0)
    often = np.zeros(1000)
    for seed in range(draws):
        plan = plan_epoch(LOSSES, 0, config(ratio=0.7, scheme=scheme, seed=seed), LABELS)
        often[plan.indices] += 1
        assert (plan.weights == 1).all()
        assert plan.weighted_size == plan.drawn
    assert (abs(often - draws * expected) <= 5 * np.sqrt(draws * expected * (1 - expected)) + 1e-9).all()
    of_class = [often[c == LABELS].sum() / draws for c in range(4)]
    assert of_class == pytest.approx([wanted[c] for c in range(4)], rel=0.1)


def test_a_class_of_larger_loss_gets_more_and_a_small_one_more_than_its_share() -> None:
    labels = np.repeat([0, 1, 2], [400, 400, 200])
    losses = np.where(labels == 0, 0.2, 0.8)
    p = probabilities(losses, labels, 300, 1.0)
    sizes = [p[labels == c].sum() for c in range(3)]
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.01)
    assert sizes[2] == pytest.approx(sizes[1] / math.sqrt(2), rel=0.01)


def test_every_epoch_keeps_the_ratio() -> None:
    rule = config(ratio=0.7, max_ratio=0.9, epochs=20).rule
    assert [rule.ratio(epoch) for epoch in range(20)] == pytest.approx([0.7] * 20)


def test_it_needs_the_classes() -> None:
    with pytest.raises(UsageError, match='method="rcap" needs labels'):
        plan_epoch(LOSSES, 0, config())
    with pytest.raises(UsageError, match='labels are needed for method="rcap"'):
        Run("run", 1000, config())
