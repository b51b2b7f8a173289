"""Truncated backpropagation through time: temporal dependence is cut every so many time steps."""

from __future__ import annotations

from sadp_dist.errors import UsageError
from sadp_dist.snn.learning.config import LearningConfig
from sadp_dist.snn.learning.registry import register_learning_rule
from sadp_dist.snn.learning.rule import Setting
from sadp_dist.snn.learning.stepwise import StepwiseRule


@register_learning_rule("tbptt")
class TBPTT(StepwiseRule):
    """BPTT within chunks of ``learning.steps`` time steps; from one chunk to the next go potentials alone.

    The form with k1 = k2 of Williams and Peng (1990, "An efficient gradient-based algorithm for on-line
    training of recurrent network trajectories"). Memory is that of one chunk.
    """

    def __init__(self, config: LearningConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        assert config.steps is not None
        if setting.time_steps % config.steps or config.steps == setting.time_steps:
            raise UsageError(
                f"learning.steps={config.steps} must divide network.time_steps={setting.time_steps} and be "
                "less; for the whole sequence at once use learning.rule=bptt"
            )

    @property
    def chunk(self) -> int:
        assert self.config.steps is not None
        return self.config.steps
