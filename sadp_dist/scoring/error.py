"""Whether the prediction is wrong. Forgetting events are counted from this score."""

from __future__ import annotations

from torch import Tensor

from sadp_dist.scoring.config import register_score
from sadp_dist.scoring.scores import Outputs


@register_score("error")
def error(outputs: Outputs) -> Tensor:
    """Return 1 if the mean of the logits over time predicts a wrong class, else 0."""
    return (outputs.logits.float().mean(0).argmax(1) != outputs.labels).float()
