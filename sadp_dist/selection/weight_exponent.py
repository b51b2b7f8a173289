"""Weights to a power θ: between an unbiased gradient (θ = 1) and one that stays on what is hard (θ = 0)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.passes import block_sums

LOW, HIGH = 0.5, 2.0
"""Coefficients of variation of the scores at and below which θ is 1, and at and above which it is 0."""


def exponent_for(scores: NDArray[np.floating]) -> float:
    """Return θ for these scores: 1 where they are alike, 0 where few are large, and in between in proportion.

    While most examples are unlearned, scores are alike, and leaving out weights would bias the gradient for
    nothing. Once most are learned, few have any gradient, and the network gains from staying on them.

    Args:
        scores: (N,) finite.
    """
    total, count = block_sums(scores)
    if total <= 0:
        return 1.0
    mean = total / count
    variation = math.sqrt(max(float(np.mean((scores / mean) ** 2, dtype=np.float64)) - 1, 0.0))
    return min(max((HIGH - variation) / (HIGH - LOW), 0.0), 1.0)


def powered(weights: NDArray[np.float64], θ: float) -> NDArray[np.float64]:
    """Return w^θ, scaled to a mean of 1; (n,)."""
    powers: NDArray[np.float64] = weights**θ
    return powers / max(float(powers.mean()), 1e-300) if len(powers) else powers
