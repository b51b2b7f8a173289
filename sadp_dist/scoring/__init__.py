"""A per-example score from a forward and backward pass (Eq. 29), or from its outputs. Needs torch alone."""

from sadp_dist.scoring import batch_loss, el2n, error, window_loss  # noqa: F401 - each registers its score
from sadp_dist.scoring.loss import loss_scores
from sadp_dist.scoring.scorer import SpikeAwareScorer
from sadp_dist.scoring.scores import SCORES, Outputs, output_scores, register_score

__all__ = [
    "SCORES",
    "Outputs",
    "SpikeAwareScorer",
    "loss_scores",
    "output_scores",
    "register_score",
]
