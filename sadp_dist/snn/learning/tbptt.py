"""Truncated backpropagation through time: gradients do not cross chunks of time steps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sadp_dist.errors import UsageError
from sadp_dist.snn.learning.config import LearningConfig, register_learning_rule
from sadp_dist.snn.learning.rule import LearningContext
from sadp_dist.snn.learning.stepwise import StepwiseRule


class TBPTTConfig(LearningConfig):
    """The options of "tbptt".

    Attributes:
        steps: time steps between two cuts; they divide T.
    """

    rule: str = "tbptt"
    steps: Annotated[int, Field(ge=1)]


@register_learning_rule("tbptt", TBPTTConfig)
class TBPTT(StepwiseRule):
    """BPTT within chunks of ``learning.steps`` time steps. Only potentials pass from chunk to chunk.

    The form with k1 = k2 of Williams and Peng (1990, "An efficient gradient-based algorithm for on-line
    training of recurrent network trajectories"). Memory is needed for one chunk.
    """

    config: TBPTTConfig

    def __init__(self, config: TBPTTConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        if context.time_steps % config.steps or config.steps == context.time_steps:
            raise UsageError(
                f"learning.steps={config.steps} must be a proper divisor of "
                f"network.time_steps={context.time_steps}; for the whole sequence use learning.rule=bptt"
            )

    def check_time_steps(self, time_steps: int) -> None:
        if time_steps > self.config.steps and time_steps % self.config.steps:
            raise UsageError(f"learning.steps={self.config.steps} does not divide it")

    @property
    def chunk(self) -> int:
        return min(self.config.steps, self.network.time_steps)
