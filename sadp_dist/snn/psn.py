"""Parallel spiking neurons (PSN), which compute all time steps at once, on SpikingJelly's classes.

Fang et al. (NeurIPS 2023, "Parallel Spiking Neurons with High Efficiency and Long-term Dependencies
Learning Ability"). A neuron has no reset and no state. From the currents X of all T steps, its potentials
and spikes are

    H = W X,    S = Θ(H - B)

W [T, T] and the thresholds B [T] are learned. In a masked PSN, W[t, s] is 0 except for t - k < s <= t, so it
uses only the last k steps. A sliding PSN has the same k weights and one threshold at every step, so it works
with any T.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.surrogate import SurrogateFunctionBase
from torch import Tensor, nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.neurons import NeuronConfig, register_neuron


class _Parallel(nn.Module):
    """Base class of the three kinds.

    Attributes:
        stepwise: False, because T calls of one time step are not equal to one call of T.
        v_threshold: the initial threshold ϑ of all neurons. Setting it sets every learned threshold.
    """

    stepwise = False
    weight: nn.Parameter
    bias: nn.Parameter
    surrogate_function: SurrogateFunctionBase

    @property
    def v_threshold(self) -> float:
        return self._v_threshold

    @v_threshold.setter
    def v_threshold(self, threshold: float) -> None:
        self._v_threshold = threshold
        nn.init.constant_(self.bias, -threshold)

    def fire(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the spikes [T, B, ...] for currents [T, B, ...] and W [T, T].

        Potentials are float32, also if mixed precision makes currents and spikes half-precision.
        """
        currents = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
        with torch.autocast(x.device.type, enabled=False):
            h = torch.addmm(self.bias, weight, currents)
            spikes: Tensor = self.surrogate_function(h)
        return spikes.view(x.shape).to(x.dtype)

    def check_time_steps(self, x: Tensor, time_steps: int) -> None:
        if len(x) != time_steps:
            raise UsageError(
                f"the input has {len(x)} time steps, but these neurons have weights for {time_steps}; set "
                f'network.time_steps={len(x)}, or use network.neuron.kind="sliding_psn" for any number'
            )


class PSN(_Parallel, neuron.PSN):
    """PSN with weights between all T time steps, also from later to earlier ones."""

    T: int

    def __init__(self, time_steps: int, threshold: float, surrogate: SurrogateFunctionBase) -> None:
        neuron.PSN.__init__(self, time_steps, surrogate)
        self.v_threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        self.check_time_steps(x, self.T)
        return self.fire(x, self.weight)


class MaskedPSN(_Parallel, neuron.MaskedPSN):
    """PSN with weights from the last k of T time steps, k <= T.

    SpikingJelly can introduce the mask gradually (its λ goes from 0 to 1). Here λ = 1 throughout, so that a
    checkpoint always behaves as configured.
    """

    T: int
    mask0: Tensor

    def __init__(
        self, order: int, time_steps: int, threshold: float, surrogate: SurrogateFunctionBase
    ) -> None:
        neuron.MaskedPSN.__init__(self, order, time_steps, 1.0, surrogate, step_mode="m")
        self.v_threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        self.check_time_steps(x, self.T)
        return self.fire(x, self.weight * self.mask0)


class SlidingPSN(_Parallel, neuron.SlidingPSN):
    """PSN with the same k weights and one threshold at every time step; initial weights ..., 1/4, 1/2, 1."""

    k: int

    def __init__(self, order: int, threshold: float, surrogate: SurrogateFunctionBase) -> None:
        neuron.SlidingPSN.__init__(self, order, True, surrogate, step_mode="m")
        self.v_threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        time = torch.arange(len(x), device=x.device)
        ago = time[:, None] - time  # [T, T]: number of steps from s to t
        seen = (ago >= 0) & (ago < self.k)
        # The last of the k weights belongs to the current step.
        weight = torch.where(seen, self.weight[self.k - 1 - ago.clamp(0, self.k - 1)], 0.0)
        return self.fire(x, weight)


class OrderedPSNConfig(NeuronConfig):
    """The options of "masked_psn" and "sliding_psn".

    Attributes:
        order: k, the number of time steps that a neuron sees; of "masked_psn" at most T.
    """

    order: Annotated[int, Field(ge=1)] = 2


@register_neuron("psn")
def build_psn(config: NeuronConfig, time_steps: int | None) -> PSN:
    """Return a layer of PSNs for T time steps."""
    return PSN(_required(time_steps, config), config.threshold, config.surrogate_function())


@register_neuron("masked_psn", OrderedPSNConfig)
def build_masked_psn(config: OrderedPSNConfig, time_steps: int | None) -> MaskedPSN:
    """Return a layer of masked PSNs for T time steps."""
    T = _required(time_steps, config)
    if config.order > T:
        raise UsageError(f"order={config.order} is more than time_steps={T}; a masked_psn has weights for T")
    return MaskedPSN(config.order, T, config.threshold, config.surrogate_function())


@register_neuron("sliding_psn", OrderedPSNConfig)
def build_sliding_psn(config: OrderedPSNConfig, time_steps: int | None) -> SlidingPSN:
    """Return a layer of sliding PSNs; they fit any number of time steps."""
    return SlidingPSN(config.order, config.threshold, config.surrogate_function())


def _required(time_steps: int | None, config: NeuronConfig) -> int:
    if time_steps is None:
        raise UsageError(f'kind="{config.kind}" needs time_steps, the number T that it has weights for')
    return time_steps
