"""The variance of the gradient estimate, computed from scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection import selection_probabilities
from sadp_dist.store.engine.history import EpochRecord

POINTS = 20_000
"""Number of scores that represent the dataset when only a histogram is available."""


def estimate_variance(scores: NDArray[np.floating], probabilities: NDArray[np.float64]) -> float:
    """Return V = 1/N² Σ G_i² (1 - p_i) / p_i, the variance of the gradient estimate.

    The estimate is 1/N Σ_drawn g_i / p_i with independent draws and ‖g_i‖ = G_i. An example with p = 0 is
    never drawn and adds nothing. Systematic draws with the same p have a lower variance.

    Args:
        scores: (N,) G.
        probabilities: (N,) p.
    """
    drawn = probabilities > 0
    G, p = np.asarray(scores, np.float64)[drawn], probabilities[drawn]
    return float(np.sum(G**2 * (1 - p) / p)) / len(scores) ** 2


def relative_variance(
    scores: NDArray[np.floating], subset_size: float, pruning: dict[str, Any]
) -> float | None:
    """Return V of SADP's probabilities divided by V of p = S / N; None without scores or if both are 0.

    Args:
        scores: (N,) G; NaN, for an example without a score, is replaced as in planning.
        subset_size: S.
        pruning: the section of the configuration.
    """
    N = len(scores)
    G = np.asarray(scores, np.float64)
    if N == 0 or np.isnan(G).all():
        return None
    stand_in = np.nanmax(G) if pruning.get("unseen") == "max" else np.nanmean(G)
    G = np.where(np.isnan(G), stand_in, G)
    S = min(float(subset_size), float(N))
    floor = pruning["min_probability"] * (S / N if pruning.get("floor") == "relative" else 1)
    p = selection_probabilities(G, S, floor, pruning["zero_scores"])
    uniform = estimate_variance(G, np.full(N, S / N))
    return estimate_variance(G, p) / uniform if uniform > 0 else None


def relative_variance_of(record: EpochRecord, dataset_size: int, pruning: dict[str, Any]) -> float | None:
    """Return the relative variance of a plan, estimated from the epoch's record.

    The record has a histogram and quantiles instead of the scores, so the error is a few percent. Without
    scores, all p are equal and the ratio is 1.
    """
    if record.score_quantiles is None:
        return 1.0
    scores = scores_like(record, dataset_size)
    return relative_variance(scores, record.subset_size / dataset_size * len(scores), pruning)


def scores_like(record: EpochRecord, dataset_size: int) -> NDArray[np.float64]:
    """Return at most `POINTS` scores with the distribution of an epoch; NaN for the unseen share.

    Between the edges of the histogram and the quantiles, the logarithm is interpolated linearly.
    """
    histogram, quantiles = record.score_histogram, record.score_quantiles or {}
    n = min(POINTS, dataset_size)
    unseen = round(n * (1 - record.seen / dataset_size))
    scores = np.zeros(n - unseen)
    counts = np.array(histogram["counts"], np.float64)
    if counts.sum() > 0:
        positive = counts.sum() / (counts.sum() + histogram["zeros"])
        edges = np.array(histogram["edges"])
        shares = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])[: len(edges)]
        at = np.array([(float(share) - 1 + positive) / positive for share in quantiles])
        values = np.array(list(quantiles.values()))
        known = (at > 0) & (values > 0)
        bounds, up_to = np.concatenate([edges, values[known]]), np.concatenate([shares, at[known]])
        order = np.lexsort((up_to, bounds))
        place = ((np.arange(len(scores)) + 0.5) / len(scores) - 1 + positive) / positive
        inside = np.interp(place, np.maximum.accumulate(up_to[order]), np.log(bounds[order]))
        scores = np.where(place > 0, np.exp(inside), 0.0)
    return np.concatenate([scores, np.full(unseen, np.nan)])
