"""Quantisation-aware training: the forward pass uses quantised weights, the optimizer float32 weights.

After QP-SNN (Wei et al., ICLR 2025, arXiv 2502.05905): weights are rescaled and then quantised uniformly, so
that all levels are used. Biases, norms and potentials stay float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression.base import Compression
from sadp_dist.snn.compression.config import CompressionConfig, register_compression
from sadp_dist.snn.layers import count_parameters, weighted_layers

OUTER_BITS = 8  # of the first and the last layer


class Levels(NamedTuple):
    """A quantised weight, (level - zero) * scale.

    Attributes:
        level: integers from 0 to 2^b - 1 as float32, in the shape of the weight.
        scale: the distance between two levels, for each output, [N, 1, ...].
        zero: the level of 0. If it is not an integer, no weight is exactly 0.
    """

    level: Tensor
    scale: Tensor
    zero: float

    def weight(self) -> Tensor:
        return (self.level - self.zero) * self.scale


def rescaled(w: Tensor, bits: int) -> Levels:
    """Return levels from -γ to γ, where γ is the mean |w| of each output (ReScaW of QP-SNN).

        ŵ = γ (round((clip(w / γ, -1, 1) + 1) z) / z - 1),  z = (2^b - 1) / 2

    Args:
        w: [N, ...], N outputs.
        bits: b.
    """
    z = (2**bits - 1) / 2
    γ = _above_zero(w.abs().mean(dim=tuple(range(1, w.dim())), keepdim=True))
    return Levels((((w / γ).clamp(-1, 1) + 1) * z).round(), γ / z, z)


def symmetric(w: Tensor, bits: int) -> Levels:
    """Return levels from -max |w| to max |w| of each output. 0 is one of the levels.

    QP-SNN quantises the first and last layer like this, except that it uses the maximum w of the whole layer.

    Args:
        w: [N, ...], N outputs.
        bits: b. One of the 2^b levels is not used.
    """
    z = 2 ** (bits - 1) - 1
    scale = _above_zero(w.abs().amax(dim=tuple(range(1, w.dim())), keepdim=True)) / z
    return Levels((w / scale).round() + z, scale, z)


def _above_zero(x: Tensor) -> Tensor:
    """Return a positive scale, also for an output whose weights are all 0."""
    return x.clamp(min=1e-30)


class Quantised(nn.Module):
    """Parametrization that quantises a weight in the forward pass, with a straight-through gradient.

    As in the authors' code, clipped weights have a gradient, too. Unlike there, it is not divided by γ, so
    learning rates have the same effect as without quantisation.

    Args:
        levels: `rescaled` or `symmetric`.
        bits: bits of a weight.
    """

    def __init__(self, levels: Callable[[Tensor, int], Levels], bits: int) -> None:
        super().__init__()
        self.levels, self.bits = levels, bits

    def forward(self, w: Tensor) -> Tensor:
        quantised = self.levels(w.detach(), self.bits).weight()
        return quantised + (w - w.detach())  # adds 0: the value is exactly the quantised weight


def quantised(layer: nn.Module) -> Quantised | None:
    """Return the parametrization that quantises the layer's weight; None without one."""
    if parametrize.is_parametrized(layer, "weight"):
        for module in layer.parametrizations.weight:  # type: ignore[union-attr]
            if isinstance(module, Quantised):
                return module
    return None


class QATConfig(CompressionConfig):
    """The options of "qat".

    Attributes:
        bits: bits of a weight. The first and the last layer always have 8.
    """

    method: str = "qat"
    bits: Annotated[int, Field(ge=2, le=8)] = 8


@register_compression("qat", QATConfig)
class QuantisationAwareTraining(Compression):
    """Quantises all linear and convolutional weights to `bits` bits, in the first and last layer to 8."""

    config: QATConfig

    def __init__(self, config: QATConfig) -> None:
        super().__init__(config)
        self._figures: dict[str, float] = {}

    def attach(self, network: nn.Module, seed: int) -> None:
        layers = list(weighted_layers(network).values())
        if not layers:
            raise UsageError(
                'compression.method="qat" needs trainable Linear or Conv layers, and this network has none; '
                "use another network, or compression.method=none"
            )
        parameters, size = count_parameters(network), 0.0
        for place, layer in enumerate(layers):
            outer = place in (0, len(layers) - 1)
            bits = OUTER_BITS if outer else self.config.bits
            weights = layer.weight.numel()  # type: ignore[operator,union-attr]
            size += weights * bits / 8
            parameters -= weights
            parametrize.register_parametrization(
                layer, "weight", Quantised(symmetric if outer else rescaled, bits)
            )
        self._figures = {
            "weight_bits": self.config.bits,
            "parameters": count_parameters(network),
            "megabytes": (size + 4 * parameters) / 1e6,
        }

    def figures(self) -> dict[str, float]:
        """Return bits of a weight, parameters, and their size in MB without scales and running statistics."""
        return self._figures
