"""Scores that follow from a network's outputs. A new one is a registered function in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Outputs(NamedTuple):
    """A batch as a score sees it.

    Attributes:
        logits: (T, B, classes).
        labels: (B,) int64.
        losses: (B,) ℓ_i >= 0, not weighted.
        coefficients: (B,) the c_i of the loss Σ c_i ℓ_i; 0 where an example only fills the batch up.
        window: (2,) Σ ℓ and the number of examples of this batch and some before it; None: of this one.
    """

    logits: Tensor
    labels: Tensor
    losses: Tensor
    coefficients: Tensor
    window: Tensor | None = None


Score = Callable[[Outputs], Tensor]
"""(B,) finite numbers >= 0."""

SCORES: dict[str, Score] = {}
"""By name; "gradient" is none of them, since `SpikeAwareScorer` needs more than outputs."""


def register_score(name: str) -> Callable[[Score], Score]:
    """Make a score known under `name`, which is then what a rule's `score` may be."""

    def add(score: Score) -> Score:
        SCORES[name] = score
        return score

    return add


@torch.no_grad()
def output_scores(name: str, outputs: Outputs) -> Tensor:
    """The scores of a batch, in the form of `SpikeAwareScorer.scores`.

    Args:
        name: of a registered score.
        outputs: of the batch.

    Returns:
        (B,) float32 on the outputs' device, NaN where the coefficient is 0.
    """
    scores = SCORES[name](outputs)
    return torch.where(outputs.coefficients != 0, scores, torch.nan).float()
