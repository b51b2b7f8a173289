"""EL2N: a fixed subset of the examples whose predictions were furthest from their labels."""

from __future__ import annotations

from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.tracked import TrackedConfig, TrackedSubset


@register("el2n", TrackedConfig)
class EL2N(TrackedSubset):
    """Paul et al., NeurIPS 2021: the S largest of the mean ‖softmax(logits) - onehot(label)‖.

    Their mean is over ten networks early in training; here it is over the epochs of tracking of one.
    """

    score = "el2n"
