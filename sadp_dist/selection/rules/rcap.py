"""RCAP: how many of each class by the class's loss, and among its examples rather those of large loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.parts import Parts, ProbabilityByClass
from sadp_dist.selection.probabilities import Capping
from sadp_dist.selection.rules import Rule, register

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig

TEMPERATURE = 1.0
STEPS = 256
"""Into which the losses from 0 to log C are rounded: so a class is a row of counts, which parts add up."""


@register("rcap")
class RCAP(Rule):
    """Hassan, Khare and Paik, UAI 2025: class-aware, probabilistic pruning for a good worst class.

    Of class c it takes n_c examples, proportional to √(π_c L_c), but never more than there are: π_c is its
    share of the data set and L_c its mean loss. An example of the class is drawn with p proportional to
    exp(ℓ / T), where T is `temperature`, up to p = 1. Losses count as log C at most, what chance has with C
    classes, and examples without a loss count as that. Every epoch keeps 1 - r; the weights are 1.

    What differs from the authors' package `datacull`: L_c is there the share of the class's Σ exp(ℓ / T) that
    the examples drawn last had, which a plan made of scores alone does not know. n_c is rounded up there, and
    not at all here. There examples are drawn one after the other without replacement; here the probabilities
    of being among the n_c are themselves proportional. Losses are rounded to log C / 256.
    """

    score = "loss"
    weights = "one"
    fills_unseen = False
    needs_labels = True

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[ProbabilityByClass, Capping]:
        """min(exp(ℓ / T) / α_c, 1), which adds up to n_c in each class."""
        sizes = sum_by_class(parts.each("compute_by_class", count_classes))
        clip = math.log(max(int(np.count_nonzero(sizes)), 2))
        counts = sum_by_class(parts.each("compute_by_class", count_losses, clip))
        wanted = class_sizes(counts @ losses(clip) / np.maximum(sizes, 1), sizes, subset_size)
        importance = np.exp((losses(clip) - clip) / (config.temperature or TEMPERATURE))
        alpha = thresholds(importance, counts, wanted)
        capped = int(counts[importance >= alpha[:, None]].sum())
        return ByClass(importance, alpha, clip), Capping(None, None, capped, rounds=1)


@dataclass(frozen=True)
class ByClass(ProbabilityByClass):
    """min(importance / α_c, 1), from the loss in steps up to `clip` and the class c."""

    importance: NDArray[np.float64]
    alpha: NDArray[np.float64]
    clip: float

    def __call__(self, scores: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
        p: NDArray[np.float64] = np.minimum(
            self.importance[_steps(scores, self.clip)] / self.alpha[labels], 1.0
        )
        return p


def losses(clip: float) -> NDArray[np.float64]:
    """The loss that each step stands for, its middle."""
    middles: NDArray[np.float64] = np.linspace(0.5, STEPS - 0.5, STEPS) * (clip / STEPS)
    return middles


def count_classes(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many examples each class has, up to the last one found."""
    return np.bincount(labels)


def count_losses(scores: NDArray[np.floating], labels: NDArray[np.integer], clip: float) -> NDArray[np.int64]:
    """How many examples of each class (up to the last one found) have a loss in which step; (C, STEPS)."""
    classes = int(labels.max(initial=-1)) + 1
    place = labels.astype(np.int64) * STEPS + _steps(scores, clip)
    return np.bincount(place, minlength=classes * STEPS).reshape(classes, STEPS)


def _steps(scores: NDArray[np.floating], clip: float) -> NDArray[np.int64]:
    steps = np.fmin(scores.astype(np.float64), clip) * (STEPS / clip)  # of NaN and clip, that is clip
    return np.minimum(steps.astype(np.int64), STEPS - 1)


def sum_by_class(counts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The sum of arrays by class, of which some end before the last class."""
    classes = max(len(of_part) for of_part in counts)
    total = np.zeros((classes, *counts[0].shape[1:]), np.int64)
    for of_part in counts:
        total[: len(of_part)] += of_part
    return total


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
