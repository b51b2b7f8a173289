"""Forgetting: a fixed subset of the examples that the network got right and then wrong again, most often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.rule import register
from sadp_dist.selection.rules.tracked import TrackedConfig, TrackedSubset

NEVER_LEARNED = 2.0**20
"""The score of an example that has not been right yet: more than any count."""


@register("forgetting", TrackedConfig)
class Forgetting(TrackedSubset):
    """Toneva et al., ICLR 2019: the S examples with most forgetting events, from right to wrong.

    An example is looked at when it is trained on, once an epoch of tracking. One that was never right counts
    as forgotten infinitely often.
    """

    score = "error"
    only_its_score = True

    def rank(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """The count of forgetting events in a score: a whole number, and another half while it is wrong."""
        events: NDArray[np.floating] = np.floor(scores)
        return events

    def track(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """Wrong after right is one event more."""
        wrong = new > 0
        never = np.isnan(before) | (before >= NEVER_LEARNED)
        events = np.floor(before)
        was_right = before == events
        known = np.where(wrong, events + was_right + 0.5, events)
        return np.where(never, np.where(wrong, NEVER_LEARNED, 0.0), known)
