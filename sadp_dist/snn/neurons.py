"""Neurons: leaky integrate-and-fire (Eqs. 1-3), on SpikingJelly's ``LIFNode``, or parallel ones."""

from __future__ import annotations

import difflib
import math
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from spikingjelly.activation_based.neuron import LIFNode
    from torch import nn

SURROGATES = {
    "atan": "ATan",
    "sigmoid": "Sigmoid",
    "piecewise_quadratic": "PiecewiseQuadratic",
    "rect": "Rect",
}
"""Names of surrogate gradients, and SpikingJelly's classes for them (taken with their default widths)."""

RESETS = ("subtract", "zero")
BACKENDS = ("torch", "inductor")

KINDS = ("lif", "psn", "masked_psn", "sliding_psn")
ORDERED = ("masked_psn", "sliding_psn")
"""Kinds that look at the last ``order`` time steps."""

LIF_ALONE = {
    "decay": "learns what it takes of earlier steps",
    "reset": "has no reset",
    "detach_reset": "has no reset",
    "backend": "is one matrix product",
}
"""What is set for LIF neurons alone, and why not for parallel ones."""


@dataclass(frozen=True)
class NeuronConfig:
    """The neurons of a network: the keys of a configuration's ``network.neuron:`` section.

    Attributes:
        kind: "lif", leaky integrate-and-fire; or parallel neurons, whose weights over time are learned:
            "psn", over all time steps, "masked_psn" and "sliding_psn", over the last `order`. These have no
            decay, no reset and no backend.
        order: k >= 1, over how many time steps a masked or sliding PSN looks; a masked one's is at most T.
        decay: the factor λ by which the membrane potential decays in one time step, 0 < λ < 1.
        threshold: the potential ϑ > 0 at which a neuron spikes; parallel neurons begin with it and learn it.
        surrogate: the gradient that stands in for the spike's: "atan", "sigmoid", "piecewise_quadratic"
            or "rect".
        reset: what a spike does to the potential: "subtract" the threshold (Eq. 3), or set it to "zero".
        detach_reset: True leaves the reset (Eq. 3) out of the backward pass.
        backend: "torch", SpikingJelly's own (on CUDA its fused kernels), or "inductor", the same compiled
            by torch.compile: on CPUs one pass over memory for a dozen, for some seconds at the first batch.

    Raises:
        UsageError: a value out of its range, a name that is not known, or a value that neurons of this kind
            have no use for.
    """

    decay: float = 0.1
    threshold: float = 1.0
    surrogate: str = "atan"
    detach_reset: bool = False
    backend: str = "torch"
    reset: str = "subtract"
    kind: str = "lif"
    order: int = 2

    def __post_init__(self) -> None:
        check_name("kind", self.kind, KINDS)
        if not 0 < self.decay < 1:
            raise UsageError(f"decay={self.decay} is outside (0, 1), the range of the membrane's decay λ")
        if not (self.threshold > 0 and math.isfinite(self.threshold)):
            raise UsageError(f"threshold={self.threshold} must be a finite number above 0")
        check_name("surrogate", self.surrogate, SURROGATES)
        check_name("backend", self.backend, BACKENDS)
        check_name("reset", self.reset, RESETS)
        if not (isinstance(self.order, int) and self.order >= 1):
            raise UsageError(f"order={self.order!r} must be an integer of at least 1")
        default = {field.name: field.default for field in fields(self)}
        if self.kind not in ORDERED and self.order != default["order"]:
            raise UsageError(
                f'order={self.order} is for kind {" and ".join(ORDERED)}, not for "{self.kind}": leave it out'
            )
        for name, reason in LIF_ALONE.items() if self.kind != "lif" else ():
            if (value := getattr(self, name)) != default[name]:
                raise UsageError(f'{name}={value} is for kind "lif"; a {self.kind} {reason}: leave it out')

    def build(self, time_steps: int | None = None) -> nn.Module:
        """One layer of these neurons, [T, B, ...] currents to [T, B, ...] spikes of 0 and 1.

        Args:
            time_steps: T, which "psn" and "masked_psn" need to know.

        Raises:
            UsageError: they are not told T, or the order is larger.
        """
        if self.kind == "lif":
            node: nn.Module = lif(
                self.decay, self.threshold, self.surrogate, self.detach_reset, self.backend, self.reset
            )
            return node
        from spikingjelly.activation_based import surrogate as surrogates

        from sadp_dist.snn import psn

        surrogate = getattr(surrogates, SURROGATES[self.surrogate])()
        if self.kind == "sliding_psn":
            return psn.SlidingPSN(self.order, self.threshold, surrogate)
        if time_steps is None:
            raise UsageError(f'kind="{self.kind}" needs time_steps, the number T that it has weights for')
        if self.kind == "psn":
            return psn.PSN(time_steps, self.threshold, surrogate)
        if self.order > time_steps:
            raise UsageError(
                f"order={self.order} is more than time_steps={time_steps}, which a masked_psn has weights for"
            )
        return psn.MaskedPSN(self.order, time_steps, self.threshold, surrogate)


def lif(
    decay: float = 0.1,
    threshold: float = 1.0,
    surrogate: str = "atan",
    detach_reset: bool = False,
    backend: str = "torch",
    reset: str = "subtract",
) -> LIFNode:
    """A layer of LIF neurons (Eqs. 1-3), [T, B, ...] currents to [T, B, ...] spikes of 0 and 1.

    With x[t] = W o[t], the current that the layer below sends:

        u[t] = λ u[t-1] + x[t]            Eq. 1
        o[t] = 1 if u[t] >= ϑ else 0      Eq. 2
        u[t] = u[t] - ϑ o[t]              Eq. 3, or with reset="zero" u[t] = (1 - o[t]) u[t]

    SpikingJelly writes Eq. 1 as u[t] = u[t-1] - (u[t-1] - u_reset) / τ + x[t] (``decay_input=False``);
    with ``v_reset=None`` it takes u_reset = 0 there and resets as Eq. 3 does, with ``v_reset=0`` to zero.
    Hence λ = 1 - 1/τ, that is τ = 1 / (1 - λ), and ϑ = ``v_threshold``. The step of both is 1 at ϑ.
    Potentials are float32 also where mixed precision makes currents and spikes half-precision.

    Args:
        decay: λ in (0, 1).
        threshold: ϑ > 0.
        surrogate: a name in ``SURROGATES``: the derivative of Eq. 2 in the backward pass.
        detach_reset: leave Eq. 3 out of the backward pass.
        backend: a name in ``BACKENDS``, see :class:`NeuronConfig`.
        reset: a name in ``RESETS``.

    Raises:
        UsageError: as :class:`NeuronConfig`; or there is no compiler for "inductor".
    """
    NeuronConfig(decay, threshold, surrogate, detach_reset, backend, reset)  # checks them
    compiler = os.environ.get("CXX", "g++")
    if backend == "inductor" and shutil.which(compiler) is None:
        raise UsageError(f'backend="inductor" needs a C++ compiler, and {compiler} is not found: use "torch"')

    from spikingjelly.activation_based import surrogate as surrogates

    from sadp_dist.snn.node import FullPrecisionLIFNode

    node = FullPrecisionLIFNode(
        tau=1.0 / (1.0 - decay),
        decay_input=False,
        v_threshold=float(threshold),
        v_reset=None if reset == "subtract" else 0.0,
        surrogate_function=getattr(surrogates, SURROGATES[surrogate])(),
        detach_reset=detach_reset,
        step_mode="m",
    )
    if backend == "inductor":
        # Layers and batches of many shapes share the code: compile it once for all of them.
        node.compile(dynamic=True)
    return node


def check_name(argument: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not one of `known`, naming the nearest one.

    Raises:
        UsageError: names the argument, the value and what is known.
    """
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise UsageError(
            f'{argument}="{name}" is not known: use {", ".join(known)}; did you mean "{nearest}"?'
        )
