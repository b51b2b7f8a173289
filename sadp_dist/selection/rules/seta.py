"""SeTa: groups of like loss, of which a window passes from the easy to the hard, and chance inside it."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sadp_dist.selection.clusters import bin_of, group_ends, histogram
from sadp_dist.selection.rule import Rule, register
from sadp_dist.selection.rules.infobatch import InfoBatchConfig
from sadp_dist.selection.table import ScoreTable


class SeTaConfig(InfoBatchConfig):
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
