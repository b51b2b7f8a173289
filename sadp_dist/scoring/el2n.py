"""EL2N: the distance of the prediction from the label."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sadp_dist.scoring.config import register_score
from sadp_dist.scoring.scores import Outputs


@register_score("el2n")
def el2n(outputs: Outputs) -> Tensor:
    """Return ‖softmax(z) - onehot(y)‖ (Paul et al., NeurIPS 2021); z: mean of the logits over time."""
    z = outputs.logits.float().mean(0)
    error = z.softmax(1) - F.one_hot(outputs.labels, z.shape[1])
    return error.square().sum(1).sqrt()
