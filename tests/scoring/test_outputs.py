"""Scores that follow from a network's outputs, against their definitions written out."""

from __future__ import annotations

import math

import pytest
import torch

from sadp_dist.scoring import SCORES, Outputs, output_scores
from sadp_dist.selection import RULES
from sadp_dist.training.config import ScoringConfig


@pytest.fixture
def outputs() -> Outputs:
    torch.manual_seed(1)
    logits = torch.randn(3, 5, 4, requires_grad=True)
    labels = torch.tensor([0, 3, 1, 2, 0])
    losses = torch.rand(5, requires_grad=True)
    return Outputs(logits, labels, losses, torch.tensor([0.1, 0.2, 0.0, 0.1, 3.0]))


def expected(name: str, outputs: Outputs) -> list[float]:
    z = [[sum(step[i][c] for step in outputs.logits.tolist()) / 3 for c in range(4)] for i in range(5)]
    losses, labels = outputs.losses.tolist(), outputs.labels.tolist()
    if name == "loss":
        return losses
    if name == "error":
        return [
            float(max(range(4), key=logits.__getitem__) != y) for logits, y in zip(z, labels, strict=True)
        ]
    if name == "window-loss":
        mean = sum(losses[i] for i in (0, 1, 3, 4)) / 4
        return [float(loss >= mean) for loss in losses]
    if name == "batch-loss":
        return [sum(losses[i] for i in (0, 1, 3, 4)) / 4] * 5
    shares = [[math.exp(v) / sum(map(math.exp, logits)) for v in logits] for logits in z]
    return [math.dist(p, [float(c == y) for c in range(4)]) for p, y in zip(shares, labels, strict=True)]


@pytest.mark.parametrize("name", sorted(set(SCORES) - {"gradient"}))
def test_a_score_is_that_of_its_definition_and_a_fill_has_none(name, outputs):
    found = output_scores(name, outputs)
    assert (found.dtype, found.requires_grad) == (torch.float32, False)
    assert found.isnan().tolist() == [False, False, True, False, False]
    kept = [0, 1, 3, 4]
    assert found[kept].tolist() == pytest.approx([expected(name, outputs)[i] for i in kept], rel=1e-5)


def test_every_score_is_one_of_the_configuration_and_every_rule_has_one():
    assert all(ScoringConfig(score=name).score == name for name in SCORES)
    assert {rule.score for rule in RULES.values()} <= set(SCORES)
