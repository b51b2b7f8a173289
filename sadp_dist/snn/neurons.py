"""The ``network.neuron:`` section of a configuration, and the registry of neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sadp_dist.registry import Registry
from sadp_dist.sections import Section

if TYPE_CHECKING:
    from spikingjelly.activation_based.surrogate import SurrogateFunctionBase
    from torch import nn

SURROGATES = {
    "atan": "ATan",
    "sigmoid": "Sigmoid",
    "piecewise_quadratic": "PiecewiseQuadratic",
    "rect": "Rect",
}
"""Surrogate gradients by name: SpikingJelly's classes, with their default widths."""

Surrogate = Literal["atan", "sigmoid", "piecewise_quadratic", "rect"]

NEURONS: Registry[Callable[[Any, int | None], nn.Module]] = Registry(
    "kind of neuron",
    {
        "lif": "sadp_dist.snn.lif_neuron:LIFConfig",
        "psn": "sadp_dist.snn.psn",
        "masked_psn": "sadp_dist.snn.psn:OrderedPSNConfig",
        "sliding_psn": "sadp_dist.snn.psn:OrderedPSNConfig",
    },
)
"""Kinds of neurons by name: functions that return a layer, given the section and T.

To add a kind, write a file with one registered function. A layer maps currents [T, B, ...] to spikes, 0 or 1.
"""

register_neuron = NEURONS.register


class NeuronConfig(Section):
    """The neurons of all layers.

    Attributes:
        kind: "lif", leaky integrate-and-fire; "psn", "masked_psn" or "sliding_psn", parallel neurons that
            learn their weights over time; or a kind that you registered.
        threshold: the potential ϑ at which a neuron spikes; parallel neurons start with it and learn it.
        surrogate: the surrogate gradient of a spike.
    """

    kinds = NEURONS
    kind_key = "kind"

    kind: str = "lif"
    threshold: Annotated[float, Field(gt=0)] = 1.0
    surrogate: Surrogate = "atan"

    def build(self, time_steps: int | None = None) -> nn.Module:
        """Return one layer of these neurons, from currents [T, B, ...] to spikes [T, B, ...], 0 or 1.

        Args:
            time_steps: T; "psn" and "masked_psn" need it.

        Raises:
            UsageError: T is missing, or it does not fit the options.
        """
        return NEURONS[self.kind](self, time_steps)

    def surrogate_function(self) -> SurrogateFunctionBase:
        """Return SpikingJelly's surrogate function."""
        from spikingjelly.activation_based import surrogate

        return getattr(surrogate, SURROGATES[self.surrogate])()
