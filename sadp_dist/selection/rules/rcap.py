"""RCAP: how many of each class by the class's loss, and among its examples rather those of large loss."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.table import ScoreTable

STEPS = 256
"""Into which the losses from 0 to log C are rounded, so that a class is a row of counts."""


class RCAPConfig(PruningConfig):
    """Options of RCAP.

    Attributes:
        temperature: T of the losses, in [0.05, 1000]; the lower, the more the largest are preferred.
    """

    temperature: Annotated[float, Field(ge=0.05, le=1000)] = 1.0


@register("rcap", RCAPConfig)
class RCAP(Rule):
    """Hassan, Khare and Paik, UAI 2025: class-aware, probabilistic pruning for a good worst class.

    Of class c it takes n_c examples, proportional to √(π_c L_c), but never more than there are: π_c is its
    share of the data set and L_c its mean loss. An example of the class is drawn with p proportional to
    exp(ℓ / T), where T is `temperature`, up to p = 1. Losses count as log C at most, what chance has with C
    classes, and examples without a loss count as that. Every epoch keeps 1 - r; the weights are 1.

    Differences from the authors' package `datacull`: L_c is there the share of the class's Σ exp(ℓ / T) that
    the examples drawn last had, which a plan made of scores alone does not know. n_c is rounded up there, and
    not at all here. There examples are drawn one after the other without replacement; here the probabilities
    of being among the n_c are themselves proportional. Losses are rounded to log C / 256.
    """

    score = "loss"
    weighting = "one"
    fills_unseen = False
    needs_labels = True

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = min(exp(ℓ / T) / α_c, 1), which adds up to n_c in each class."""
        labels = table.labels
        assert labels is not None, "a rule by class where there are no labels"
        sizes = np.bincount(labels)
        clip = math.log(max(int(np.count_nonzero(sizes)), 2))
        steps = _steps(table.scores, clip)
        place = labels.astype(np.int64) * STEPS + steps
        counts = np.bincount(place, minlength=len(sizes) * STEPS).reshape(len(sizes), STEPS)
        wanted = class_sizes(counts @ losses(clip) / np.maximum(sizes, 1), sizes, subset_size)
        importance = np.exp((losses(clip) - clip) / self.config.temperature)
        alpha = thresholds(importance, counts, wanted)
        p: NDArray[np.float64] = np.minimum(importance[steps] / alpha[labels], 1.0)
        return p


def losses(clip: float) -> NDArray[np.float64]:
    """The loss that each step stands for, its middle."""
    middles: NDArray[np.float64] = np.linspace(0.5, STEPS - 0.5, STEPS) * (clip / STEPS)
    return middles


def _steps(scores: NDArray[np.floating], clip: float) -> NDArray[np.int64]:
    steps = np.fmin(scores.astype(np.float64), clip) * (STEPS / clip)  # of NaN and clip, that is clip
    return np.minimum(steps.astype(np.int64), STEPS - 1)


def class_sizes(
    mean_loss: NDArray[np.float64], sizes: NDArray[np.int64], subset_size: float
) -> NDArray[np.float64]:
    """n_c proportional to √(π_c L_c) with Σ n_c = S; what a class does not have goes to the others."""
    share = np.sqrt(sizes / max(sizes.sum(), 1) * mean_loss)
    full = sizes == 0
    while True:
        rest = max(subset_size - sizes[full].sum(), 0)
        n: NDArray[np.float64] = np.where(full, sizes, rest * share / max(share[~full].sum(), 1e-300))
        over = ~full & (n > sizes)
        if not over.any():
            return n
        full |= over


def thresholds(
    importance: NDArray[np.float64], counts: NDArray[np.int64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """α_c with Σ min(importance / α_c, 1) = n_c over the examples of class c.

    Args:
        importance: (STEPS,) > 0, ascending.
        counts: (C, STEPS) examples of each.
        wanted: (C,) n_c, 0 <= n_c <= Σ counts.

    Returns:
        (C,) float64; infinity where n_c is 0.
    """
    # With the steps from m on capped, α = Σ below m / (n_c - count from m on); m is right where that lies
    # between the importance of step m - 1 and that of step m.
    none = np.zeros((len(counts), 1))
    below = np.hstack([none, np.cumsum(counts * importance, axis=1)])
    capped = np.hstack([np.cumsum(counts[:, ::-1], axis=1)[:, ::-1], none])
    left = wanted[:, None] - capped
    alpha = np.divide(below, left, out=np.zeros_like(below), where=left > 0)
    fits = (left > 0) & (alpha <= np.append(importance, np.inf)) & (alpha > 0)
    found = alpha[np.arange(len(alpha)), np.argmax(fits, axis=1)]
    found[~fits.any(axis=1)] = np.inf  # n_c = 0
    alphas: NDArray[np.float64] = np.where(wanted >= capped[:, 0], importance[0], found)
    return alphas
