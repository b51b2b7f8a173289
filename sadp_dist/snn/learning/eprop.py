"""E-prop: eligibility traces at the synapses, and a learning signal for each neuron."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from sadp_dist.errors import UsageError
from sadp_dist.snn.layers import weighted_layers
from sadp_dist.snn.learning.config import LearningConfig, register_learning_rule
from sadp_dist.snn.learning.cuts import Cuts
from sadp_dist.snn.learning.rule import LearningContext, Passes
from sadp_dist.snn.learning.stepwise import Chunk, StepwiseRule
from sadp_dist.snn.learning.traces import Traces


class EPropConfig(LearningConfig):
    """The options of "eprop".

    Attributes:
        feedback: what takes the output's errors to the hidden layers: "symmetric" uses the forward weights,
            "random" uses fixed random weights.
    """

    rule: str = "eprop"
    feedback: Literal["symmetric", "random"] = "symmetric"


@register_learning_rule("eprop", EPropConfig)
class EProp(StepwiseRule):
    """E-prop for LIF neurons (Bellec et al., Nature Communications 2020, Eqs. 1, 4, 22 and 23).

        ε_i[t]  = λ ε_i[t-1] + z_i[t]        eligibility vector: the trace of the synapse's input
        e_ji[t] = ψ_j[t] ε_i[t]              eligibility trace, ψ the surrogate gradient
        dE/dW_ji = Σ_t L_j[t] e_ji[t]

    for input weights, and for recurrent weights with z_i[t-1]. Readouts have no memory: with cross entropy,
    the error of readout k is (π_k[t] - π*_k[t]) / T, and its weights learn from z[t]. ``feedback`` selects
    the learning signal L_j[t]:

        symmetric  through the forward weights, within the time step. For one hidden layer, and for the last
                   of several, this is the paper's symmetric e-prop.
        random     from the readouts directly to each layer, Σ_k B_jk (π_k[t] - π*_k[t]) / T, with fixed
                   random B_jk of mean 0 and variance 1 / K.

    Eligibility ignores the reset, as in the paper. Batch norm is not supported, because it mixes examples.
    """

    encodes_once = False  # inputs also have traces

    config: EPropConfig

    def __init__(self, config: EPropConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        for name, module in context.network.named_modules():
            if isinstance(module, _BatchNorm):
                raise UsageError(
                    f"learning.rule=eprop needs a network without batch norm, but {name} is batch norm; use "
                    "network.name=recurrent_snn_plain, or learning.rule=ottt"
                )
        *hidden, _ = weighted_layers(context.network).values()
        self.traces = Traces(hidden, context.trace_decay())
        self.at_work.append(self.traces)
        self.cuts = Cuts(context.network) if config.feedback == "random" else None
        if self.cuts is not None:
            self.at_work.append(self.cuts)
            K = context.num_classes
            for number, shape in enumerate(self.cuts.shapes(context.example)):
                self.register_buffer(f"feedback_{number}", torch.randn(K, math.prod(shape)) / K**0.5)

    def backward_chunk(self, chunk: Chunk, passes: Passes) -> None:
        if self.cuts is None:
            super().backward_chunk(chunk, passes)
            return
        errors: list[Tensor] = []  # c_i (π - π*) / T, times the AMP scale
        chunk.logits.register_hook(errors.append)
        super().backward_chunk(chunk, passes)
        spikes = self.cuts.take()
        torch.autograd.backward(spikes, [self._signal(errors[0], *each) for each in enumerate(spikes)])

    def _signal(self, errors: Tensor, number: int, z: Tensor) -> Tensor:
        """Return L_j of a layer's neurons, in the shape of their spikes."""
        B = self.get_buffer(f"feedback_{number}")
        return (errors.to(B.dtype) @ B).reshape(z.shape).to(z.dtype)
