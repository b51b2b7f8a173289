"""Leaky integrate-and-fire (LIF) neurons (Eqs. 1-3), on SpikingJelly's ``LIFNode``."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sadp_dist.errors import UsageError
from sadp_dist.snn.neurons import NeuronConfig, Surrogate, register_neuron

if TYPE_CHECKING:
    from spikingjelly.activation_based.neuron import LIFNode


class LIFConfig(NeuronConfig):
    """The options of "lif".

    Attributes:
        decay: the factor λ by which the membrane potential decays in one time step.
        reset: what a spike does to the potential: "subtract" the threshold (Eq. 3), or set it to "zero".
        detach_reset: true leaves the reset (Eq. 3) out of the backward pass.
        backend: "torch" is SpikingJelly's own, with fused kernels on CUDA. "inductor" compiles it with
            torch.compile: faster on CPUs, but the first batch takes some seconds longer.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.1
    reset: Literal["subtract", "zero"] = "subtract"
    detach_reset: bool = False
    backend: Literal["torch", "inductor"] = "torch"


@register_neuron("lif", LIFConfig)
def build_lif(config: LIFConfig, time_steps: int | None) -> LIFNode:
    """Return a layer of LIF neurons; they fit any number of time steps.

    x[t] = W o[t] is the current from the layer below:

        u[t] = λ u[t-1] + x[t]            Eq. 1
        o[t] = 1 if u[t] >= ϑ else 0      Eq. 2
        u[t] = u[t] - ϑ o[t]              Eq. 3, or with reset="zero" u[t] = (1 - o[t]) u[t]

    SpikingJelly computes Eq. 1 as u[t] = u[t-1] - (u[t-1] - u_reset) / τ + x[t] (``decay_input=False``),
    where u_reset = 0. ``v_reset=None`` resets as in Eq. 3, ``v_reset=0`` resets to zero. Hence τ = 1 / (1 -
    λ) and ``v_threshold`` = ϑ. A potential of exactly ϑ is a spike in both. Potentials are float32, also if
    mixed precision makes currents and spikes half-precision.

    Raises:
        UsageError: the backend is "inductor" and no C++ compiler is installed.
    """
    compiler = os.environ.get("CXX", "g++")
    if config.backend == "inductor" and shutil.which(compiler) is None:
        raise UsageError(
            f'backend="inductor" needs a C++ compiler, but {compiler} is not installed; use backend="torch"'
        )

    from sadp_dist.snn.node import FullPrecisionLIFNode

    node = FullPrecisionLIFNode(
        tau=1.0 / (1.0 - config.decay),
        decay_input=False,
        v_threshold=config.threshold,
        v_reset=None if config.reset == "subtract" else 0.0,
        surrogate_function=config.surrogate_function(),
        detach_reset=config.detach_reset,
        step_mode="m",
    )
    if config.backend == "inductor":
        # Compile once for the shapes of all layers and batches.
        node.compile(dynamic=True)
    return node


def lif(
    decay: float = 0.1,
    threshold: float = 1.0,
    surrogate: Surrogate = "atan",
    detach_reset: bool = False,
    backend: Literal["torch", "inductor"] = "torch",
    reset: Literal["subtract", "zero"] = "subtract",
) -> LIFNode:
    """Return a layer of LIF neurons (Eqs. 1-3), from currents [T, B, ...] to spikes [T, B, ...], 0 or 1.

    The arguments are the keys of `LIFConfig`.

    Raises:
        UsageError: a value is not allowed, or "inductor" has no C++ compiler.
    """
    config = LIFConfig(
        decay=decay,
        threshold=threshold,
        surrogate=surrogate,
        detach_reset=detach_reset,
        backend=backend,
        reset=reset,
    )
    return build_lif(config, None)
