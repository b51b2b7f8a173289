"""The ``scoring:`` section of a configuration, and the scores that it may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sadp_dist.registry import Registry
from sadp_dist.sections import Section

SCORES: Registry[Callable[..., Any]] = Registry(
    "score",
    {
        "gradient": "sadp_dist.scoring.gradient:GradientConfig",
        "loss": "sadp_dist.scoring.loss",
        "el2n": "sadp_dist.scoring.el2n",
        "error": "sadp_dist.scoring.error",
        "batch-loss": "sadp_dist.scoring.batch_loss",
        "window-loss": "sadp_dist.scoring.window_loss:WindowLossConfig",
    },
)
"""Scores by name. A new score is a file with one registered function of ``Outputs``.

"gradient" is not one: it reads the backward pass, so its function returns a ``SpikeAwareScorer``.
"""

register_score = SCORES.register


class ScoringConfig(Section):
    """The score of an example.

    Attributes:
        score: "gradient" (a bound of the gradient's norm, Eq. 29), "loss", "el2n" (distance of the prediction
            from the label), "error" (1 if the prediction is wrong), "batch-loss" (mean loss of the batch),
            "window-loss" (1 if the loss is not below the mean of the last batches of the rank, else 0), or a
            score that you registered. None: the score of `pruning.method`.
    """

    kinds = SCORES
    kind_key = "score"

    score: str | None = None
