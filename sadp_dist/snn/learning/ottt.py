"""Online training through time: errors of one time step, and traces of presynaptic spikes."""

from __future__ import annotations

from sadp_dist.snn.layers import weighted_layers
from sadp_dist.snn.learning.config import LearningConfig, register_learning_rule
from sadp_dist.snn.learning.rule import LearningContext
from sadp_dist.snn.learning.stepwise import StepwiseRule
from sadp_dist.snn.learning.traces import Traces


@register_learning_rule("ottt")
class OTTT(StepwiseRule):
    """OTTT_A (Xiao et al., NeurIPS 2022), which accumulates gradients over the time steps of a batch.

        â^l[t]  = λ â^l[t-1] + s^l[t]
        ∇_{W^l} = Σ_t g^{l+1}[t] â^l[t]ᵀ        g: the error within time step t alone

    As in SpikingJelly, against which the gradients are tested, all layers after neurons have traces, also the
    classifier. The first layer, which takes the input, has none.
    """

    def __init__(self, config: LearningConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        self.traces = Traces(weighted_layers(context.network.body).values(), context.trace_decay())
        self.at_work.append(self.traces)
