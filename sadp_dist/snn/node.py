"""SpikingJelly's LIF neuron with float32 potentials under mixed precision."""

from __future__ import annotations

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor


class FullPrecisionLIFNode(LIFNode):
    """``LIFNode`` whose potentials stay float32 when autocast makes its currents float16 or bfloat16.

    SpikingJelly would use the precision of the currents, for which it has no fused CUDA kernel: its kernels
    take half-precision currents and spikes, but float32 potentials.
    """

    def materialize_states(
        self, inputs: tuple[Tensor, ...], states: tuple[object, ...], step_mode: str
    ) -> tuple[object, ...]:
        current = inputs[0][0] if step_mode == "m" else inputs[0]
        dtype = torch.promote_types(current.dtype, torch.float32)
        v = states[0]
        if not isinstance(v, Tensor) or v.shape != current.shape:
            v = torch.zeros_like(current, dtype=dtype, requires_grad=False)  # the resting potential
        return (v.to(current.device, dtype),)
