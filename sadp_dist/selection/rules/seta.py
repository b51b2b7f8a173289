"""SeTa: groups of like loss, of which a window passes from the easy to the hard, and chance inside it.

The groups are those of k-means in one dimension, its best solution, from a histogram. Its bins are the
float32 numbers that share their upper 16 bits, a relative width of at most 1/128.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.rules.infobatch import KeepConfig
from sadp_dist.selection.table import ScoreTable

BINS = 0x7F80
"""Of the finite float32 numbers from 0; the sign's bit is 0, and above are infinity and NaN."""


class SeTaConfig(KeepConfig):
    """Options of SeTa.

    Attributes:
        keep_probability: q, with which an example in the window is kept, in (0, 1]; `ratio` is then not used.
            None: the q that meets `ratio`.
        delta: the share δ of the epochs in which the window moves, in [0, 1].
        groups: number of groups of like loss.
        window_scale: share of the groups that take part in an epoch, in (0, 1].
    """

    groups: Annotated[int, Field(ge=1)] = 5
    window_scale: Annotated[float, Field(gt=0, le=1)] = 0.9


@register("seta", SeTaConfig)
class SeTa(Rule):
    """Zhou, Gao and Wang, CVPR 2025: leave out at random, and what is too easy or too hard for now.

    k-means makes `groups` groups of the losses. In an epoch those in a window of `window_scale` of the groups
    take part; the window moves up by one group in each epoch and begins at the easiest again after the
    hardest. Of the examples in it each is kept with the same probability q. The first epoch and the last
    (1 - δ) K have all groups. The weights are 1.

    q is such that an epoch has 1 - r of the data set; where the window has less, all of it is trained on, and
    the epoch's ratio is above r. With `keep_probability` q is that, as in the authors' code; `ratio` is then
    not used, and the share that an epoch leaves out depends on the scores.

    Differences from the authors' code: the groups are made of all losses and not of a random share, and they
    are the best solution of k-means, not one that depends on where it begins.
    """

    score = "loss"
    weighting = "one"

    @property
    def asked_ratio(self) -> float | None:
        """r, unless q is given."""
        return self.config.ratio if self.config.keep_probability is None else None

    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """p = q for the groups in the window, 0 for the others."""
        counts = histogram(table.scores)
        ends = group_ends(counts, self.config.groups)
        first, last = self.window(epoch, len(ends))
        begin, end = (int(ends[group - 1]) if group else 0 for group in (first, last))
        inside = int(counts[begin:end].sum())
        q = self.config.keep_probability or min(subset_size / max(inside, 1), 1.0)
        bins = bin_of(table.scores)
        return np.where((bins >= begin) & (bins < end), q, 0.0)

    def window(self, epoch: int, groups: int) -> tuple[int, int]:
        """Return which of so many groups take part: the first one, and the one after the last."""
        if epoch == 0 or epoch >= self.config.pruned_epochs:
            return 0, groups
        size = min(max(round(groups * self.config.window_scale), 1), groups)
        first = epoch % (groups - size + 1)
        return first, first + size


def histogram(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many scores lie in each bin, (BINS,); all of them are finite and at least 0."""
    return np.bincount(bin_of(scores), minlength=BINS)


def bin_of(scores: NDArray[np.floating]) -> NDArray[np.uint32]:
    """The bin of each score: larger scores are never in lower bins."""
    return np.asarray(scores, np.float32).view(np.uint32) >> np.uint32(16)


def group_ends(counts: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Cut a histogram into the groups whose scores lie nearest to their group's mean, in squares (k-means).

    Args:
        counts: (BINS,) of all scores.
        groups: how many there are to be, at least 1.

    Returns:
        (g,) ascending, the bin at which each group ends, exclusive; g is less than `groups` where there are
        fewer bins with scores in them. Empty without scores.
    """
    filled = np.flatnonzero(counts)
    groups = min(groups, len(filled))
    if groups == 0:
        return np.empty(0, np.int64)
    middle = ((filled.astype(np.uint32) << 16) + 0x8000 * (filled > 0)).astype(np.uint32).view(np.float32)
    of_last = _last_of_groups(middle.astype(np.float64), counts[filled].astype(np.float64), groups)
    return filled[of_last] + 1


@njit(cache=True, nogil=True)
def _last_of_groups(x: NDArray[np.float64], n: NDArray[np.float64], groups: int) -> NDArray[np.int64]:
    """The last place of each group, where x (ascending, n of each) is cut with the least Σ n (x - mean)².

    By dynamic programming over the places: least[g, j] is the best for the first j places in g groups. Its
    last cut lies between that of g - 1 groups and that of one place more, which bounds the search.
    """
    J = len(x)
    count, first, second = np.zeros(J + 1), np.zeros(J + 1), np.zeros(J + 1)
    for j in range(J):
        count[j + 1] = count[j] + n[j]
        first[j + 1] = first[j] + n[j] * x[j]
        second[j + 1] = second[j] + n[j] * x[j] * x[j]
    least = np.full((groups + 1, J + 1), np.inf)
    cut = np.zeros((groups + 1, J + 2), np.int64)
    least[0, 0] = 0.0
    for g in range(1, groups + 1):
        cut[g, J + 1] = J
        for j in range(J, g - 1, -1):
            for i in range(max(cut[g - 1, j], g - 1), min(cut[g, j + 1], j - 1) + 1):
                total = first[j] - first[i]
                spread = second[j] - second[i] - total * total / (count[j] - count[i])
                if least[g - 1, i] + max(spread, 0.0) < least[g, j]:
                    least[g, j] = least[g - 1, i] + max(spread, 0.0)
                    cut[g, j] = i
    last = np.empty(groups, np.int64)
    j = J
    for g in range(groups, 0, -1):
        last[g - 1] = j - 1
        j = cut[g, j]
    return last
