"""Mistakes in scoring a network of one's own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sadp_dist.scoring import SpikeAwareScorer, unmixed_scores
from tests.mistakes.case import Table

SCORES = Table()
B, T = 4, 3


class Folded(nn.Module):
    """Folds time and batch into rows in an order of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 5)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        return self.head(sequence.reshape(-1, 6)[torch.randperm(B * T)])


class Functional(nn.Module):
    """Uses the weight of its head, but does not call it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.body(x), self.head.weight)


class TwoHeads(nn.Module):
    """Has a head that the loss leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.spare = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.spare(x)
        return self.head(x)


def score(
    model: nn.Module, coefficients: int = B, inputs: torch.Tensor | None = None, **options: object
) -> None:
    scorer = SpikeAwareScorer(model, **options)
    with scorer:
        model(torch.rand(B, 6) if inputs is None else inputs).sum().backward()
    scorer.scores(torch.ones(coefficients))


@SCORES.row("a weight that is used without a call of its layer", "its gradient is not in the score")
def _(folder: Path) -> None:
    score(Functional())


@SCORES.row("a layer of another type in `layers`", "there is no rule for its score")
def _(folder: Path) -> None:
    score(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)), layers=["1"])


@SCORES.row("a frozen layer in `layers`", "it has no gradient")
def _(folder: Path) -> None:
    score(nn.Sequential(nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 5)), layers=["0"])


@SCORES.row("a layer in `layers` that the loss does not reach", "it has no gradient")
def _(folder: Path) -> None:
    score(TwoHeads(), layers=["spare"])


@SCORES.row("time and batch are folded in an unknown order", "scores would belong to other examples")
def _(folder: Path) -> None:
    score(Folded(), inputs=torch.rand(B, T, 6))


@SCORES.row("one coefficient too few", "a score is divided by its own coefficient")
def _(folder: Path) -> None:
    score(nn.Linear(6, 5), coefficients=B - 1)


@SCORES.row("`exact=True` with convolutions", "there is no exact norm for them")
def _(folder: Path) -> None:
    score(nn.Conv2d(3, 5, 3), inputs=torch.rand(B, 3, 8, 8), layers="all", exact=True)


@SCORES.row("`backward` after the `with scorer:` block", "the hooks are gone")
def _(folder: Path) -> None:
    model = nn.Linear(6, 5)
    scorer = SpikeAwareScorer(model)
    with scorer:
        loss = model(torch.rand(B, 6)).sum()
    loss.backward()
    scorer.scores(torch.ones(B))


@SCORES.row("mixup with the partners of another batch", "a score would go to another example")
def _(folder: Path) -> None:
    unmixed_scores(torch.ones(B), torch.randperm(B + 1), 0.3)
