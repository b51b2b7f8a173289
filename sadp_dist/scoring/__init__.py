"""A per-example score from a forward and backward pass (Eq. 29). Needs torch alone."""

from sadp_dist.scoring.scorer import SpikeAwareScorer

__all__ = ["SpikeAwareScorer"]
