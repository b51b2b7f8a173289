"""Backpropagation through time: the gradient of the loss of the whole sequence."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sadp_dist.snn.learning.config import register_learning_rule
from sadp_dist.snn.learning.rule import LearningRule, Passes


@register_learning_rule("bptt")
class BPTT(LearningRule):
    """One forward and one backward pass over all T time steps. Memory grows with T.

    Algorithm S1 of the supplement of Meng et al. (ICCV 2023), Eqs. 4 and 5 of SADP.
    """

    whole: ClassVar[bool] = True

    def learn(
        self, inputs: Tensor, labels: Tensor, coefficients: Tensor, passes: Passes, key: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        with passes.autocast():
            logits = passes.forward(inputs)
        losses = passes.loss(logits, labels)
        passes.backward((coefficients * losses).sum())
        return logits.detach(), losses.detach()
