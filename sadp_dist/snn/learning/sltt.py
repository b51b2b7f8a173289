"""Spatial learning through time: BPTT without temporal terms, one time step at a time."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from sadp_dist.errors import UsageError
from sadp_dist.snn.learning.config import LearningConfig, register_learning_rule
from sadp_dist.snn.learning.rule import LearningContext
from sadp_dist.snn.learning.stepwise import StepwiseRule


class SLTTConfig(LearningConfig):
    """The options of "sltt".

    Attributes:
        backward_steps: K of SLTT-K: the number of time steps of each batch, drawn at random, that have a
            backward pass. None: all of them.
    """

    rule: str = "sltt"
    backward_steps: Annotated[int, Field(ge=1)] | None = None


@register_learning_rule("sltt", SLTTConfig)
class SLTT(StepwiseRule):
    """SLTT and, with ``learning.backward_steps``, SLTT-K (Meng et al., ICCV 2023, Algorithm S2).

        e_u^L[t] = 1/T ∂ℓ[t]/∂s^L[t] ∂s^L[t]/∂u^L[t]
        e_u^l[t] = e_u^{l+1}[t] ∂u^{l+1}[t]/∂s^l[t] ∂s^l[t]/∂u^l[t]
        ΔW^l    += e_u^l[t]ᵀ s^{l-1}[t]ᵀ                            at each time step, or at K of them

    The K time steps are drawn for each batch, without replacement, from (seed, epoch, batch). The other time
    steps are forward passes without a graph. Batch norm uses the statistics of each time step.
    ``network.neuron.reset`` selects soft or hard reset (S8, S10), and ``training.loss`` "tet" or "tet-label"
    selects the loss S13 or S14.
    """

    config: SLTTConfig

    def __init__(self, config: SLTTConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        K = config.backward_steps
        if K is not None and context.time_steps < K:
            raise UsageError(
                f"learning.backward_steps={K} must be at most network.time_steps={context.time_steps}"
            )

    def backward_chunks(self, time_steps: int, key: tuple[int, int]) -> set[int]:
        K = self.config.backward_steps
        if K is None:
            return super().backward_chunks(time_steps, key)
        required = np.random.default_rng([self.context.seed, *key]).permutation(time_steps)[:K]
        return set(required.tolist())
