"""GraNd: a fixed subset of the examples of largest gradient norm."""

from __future__ import annotations

from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.tracked import TrackedConfig, TrackedSubset


@register("grand", TrackedConfig)
class GraNd(TrackedSubset):
    """Paul et al., NeurIPS 2021: the S largest of the mean norm of an example's gradient.

    Theirs is the mean of the full gradient's norm over ten networks, at their initial weights or soon after.
    Here it is the mean over the epochs of tracking of one network, of what `scoring` says: the spike-aware
    bound of the norm (Eq. 29) or the exact norm, of the last layer or of all.
    """

    score = "gradient"
