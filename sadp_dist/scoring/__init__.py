"""A per-example score from a forward and backward pass (Eq. 29), or the loss as one. Needs torch alone."""

from sadp_dist.scoring.loss import loss_scores
from sadp_dist.scoring.scorer import SpikeAwareScorer

__all__ = ["SpikeAwareScorer", "loss_scores"]
