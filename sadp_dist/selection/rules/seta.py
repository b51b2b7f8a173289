"""SeTa: groups of like loss, of which a window passes from the easy to the hard, and chance inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.clusters import bin_of, group_ends, histogram
from sadp_dist.selection.parts import Parts, Probability
from sadp_dist.selection.probabilities import Capping, in_ranges
from sadp_dist.selection.rules import Rule, register

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig

GROUPS = 5
WINDOW_SCALE = 0.9


@register("seta")
class SeTa(Rule):
    """Zhou, Gao and Wang, CVPR 2025: leave out at random, and what is too easy or too hard for now.

    k-means makes `groups` groups of the losses. In an epoch those in a window of `window_scale` of the groups
    take part; the window moves up by one group in each epoch and begins at the easiest again after the
    hardest. Of the examples in it each is kept with the same probability q. The first epoch and the last
    (1 - δ) K have all groups. The weights are 1.

    q is such that an epoch has 1 - r of the data set; where the window has less, all of it is trained on, and
    the epoch's ratio is above r. With `keep_probability` q is that, as in the authors' code, `ratio` has no
    say, and what an epoch leaves out is what comes of it.

    What differs from the authors' code: the groups are made of all losses and not of a random share, and they
    are the best solution of k-means, not one that depends on where it begins.
    """

    score = "loss"
    weights = "one"
    has_keep_probability = True

    def probability(
        self, parts: Parts, subset_size: int, config: PruningConfig, epoch: int
    ) -> tuple[Probability, Capping]:
        """q for the groups in the window, 0 for the others."""
        N = parts.ranges[-1].stop
        counts = np.sum(in_ranges(parts, histogram), axis=0)
        ends = group_ends(counts, config.groups or GROUPS)
        first, last = window(epoch, len(ends), config)
        begin = int(ends[first - 1]) if first else 0
        end = int(ends[last - 1]) if last else 0
        inside = int(counts[begin:end].sum())
        if config.keep_probability is not None:
            q = config.keep_probability
        else:
            q = min(subset_size / max(inside, 1), 1.0)
        expected = None if N == 0 else round(q * inside)
        return Within(begin, end, q), Capping(None, None, capped=0, rounds=1, expected=expected)


def window(epoch: int, groups: int, config: PruningConfig) -> tuple[int, int]:
    """Which of so many groups take part in an epoch: the first one, and the one after the last."""
    if epoch == 0 or epoch >= config.pruned_epochs:
        return 0, groups
    size = min(max(round(groups * (config.window_scale or WINDOW_SCALE)), 1), groups)
    first = epoch % (groups - size + 1)
    return first, first + size


@dataclass(frozen=True)
class Within:
    """q where the score is in bins from `begin` to before `end`, else 0."""

    begin: int
    end: int
    q: float

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        bins = bin_of(scores)
        return np.where((bins >= self.begin) & (bins < self.end), self.q, 0.0)
