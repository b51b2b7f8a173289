"""The leaky integrate-and-fire neuron of Eqs. 1-3, on SpikingJelly's ``LIFNode``."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from spikingjelly.activation_based.neuron import LIFNode

SURROGATES = {
    "atan": "ATan",
    "sigmoid": "Sigmoid",
    "piecewise_quadratic": "PiecewiseQuadratic",
    "rect": "Rect",
}
"""Names of surrogate gradients, and SpikingJelly's classes for them (taken with their default widths)."""


@dataclass(frozen=True)
class NeuronConfig:
    """The neurons of a network: the keys of a configuration's ``network.neuron:`` section.

    Attributes:
        decay: the factor λ by which the membrane potential decays in one time step, 0 < λ < 1.
        threshold: the potential ϑ > 0 at which a neuron spikes.
        surrogate: the gradient that stands in for the spike's: "atan", "sigmoid", "piecewise_quadratic" or "rect".
        detach_reset: True leaves the reset (Eq. 3) out of the backward pass.

    Raises:
        UsageError: a value out of its range, or a surrogate that is not known.
    """

    decay: float = 0.1
    threshold: float = 1.0
    surrogate: str = "atan"
    detach_reset: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise UsageError(f"decay={self.decay} is outside (0, 1), the range of the membrane's decay λ")
        if not (self.threshold > 0 and math.isfinite(self.threshold)):
            raise UsageError(f"threshold={self.threshold} must be a finite number above 0")
        if self.surrogate not in SURROGATES:
            nearest = difflib.get_close_matches(self.surrogate, SURROGATES, n=1, cutoff=0.0)[0]
            raise UsageError(
                f'surrogate="{self.surrogate}" is not known: use {", ".join(SURROGATES)}; did you mean "{nearest}"?'
            )

    def build(self) -> LIFNode:
        """One layer of these neurons, see :func:`lif`."""
        return lif(self.decay, self.threshold, self.surrogate, self.detach_reset)


def lif(
    decay: float = 0.1, threshold: float = 1.0, surrogate: str = "atan", detach_reset: bool = False
) -> LIFNode:
    """A layer of LIF neurons (Eqs. 1-3), [T, B, ...] currents to [T, B, ...] spikes of 0 and 1.

    With x[t] = W o[t], the current that the layer below sends:

        u[t] = λ u[t-1] + x[t]            Eq. 1
        o[t] = 1 if u[t] >= ϑ else 0      Eq. 2
        u[t] = u[t] - ϑ o[t]              Eq. 3

    SpikingJelly writes Eq. 1 as u[t] = u[t-1] - (u[t-1] - u_reset) / τ + x[t] (``decay_input=False``) and, for
    ``v_reset=None``, takes u_reset = 0 and resets as Eq. 3 does. Hence λ = 1 - 1/τ, that is τ = 1 / (1 - λ), and
    ϑ = ``v_threshold``. The Heaviside step of both is 1 at ϑ.

    Args:
        decay: λ in (0, 1).
        threshold: ϑ > 0.
        surrogate: a name in ``SURROGATES``: the derivative of Eq. 2 in the backward pass.
        detach_reset: leave Eq. 3 out of the backward pass.

    Raises:
        UsageError: as :class:`NeuronConfig`.
    """
    from spikingjelly.activation_based import surrogate as surrogates
    from spikingjelly.activation_based.neuron import LIFNode

    NeuronConfig(decay, threshold, surrogate, detach_reset)  # checks the four
    return LIFNode(
        tau=1.0 / (1.0 - decay),
        decay_input=False,
        v_threshold=float(threshold),
        v_reset=None,
        surrogate_function=getattr(surrogates, SURROGATES[surrogate])(),
        detach_reset=detach_reset,
        step_mode="m",
    )
