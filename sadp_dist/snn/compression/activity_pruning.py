"""Pruning by spiking activity: training removes channels of low activity and restores some of them.

After Li et al. (ICML 2024, "Towards efficient deep spiking neural networks construction with spiking activity
based pruning", arXiv 2406.01072). The activity of a channel is that of the neurons after its convolution and
batch norm. The least active channels are removed. Channels are restored by the gradient of their γ in batch
norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression.base import Compression
from sadp_dist.snn.compression.config import CompressionConfig, register_compression
from sadp_dist.snn.compression.momentum import momentum
from sadp_dist.snn.layers import WEIGHTED, count_parameters, weighted_layers

LEAST = 0.1
"""Share of a layer's channels that is never removed; at least one channel remains."""


class Unit(NamedTuple):
    """A layer with weights, its batch norm and the neurons after it: their channels can be removed."""

    layer: nn.Module
    norm: _BatchNorm
    neurons: nn.Module

    @property
    def channels(self) -> int:
        return self.norm.num_features


def find_units(network: nn.Module) -> list[Unit]:
    """Return all layers that are followed by batch norm and neurons, in the order of registration.

    In a residual block that adds its shortcut to the last batch norm, the neurons are those after the sum.
    """
    units: list[Unit] = []
    layer: nn.Module | None = None
    norm: _BatchNorm | None = None
    for module in network.modules():
        if isinstance(module, WEIGHTED):
            layer, norm = module, None
        elif isinstance(module, _BatchNorm) and layer is not None:
            norm = module if module.affine and module.num_features == len(layer.weight) else None  # type: ignore[arg-type]
        elif hasattr(module, "surrogate_function") and norm is not None and layer is not None:
            units.append(Unit(layer, norm, module))
            layer = norm = None
    return units


class ActivityPruningConfig(CompressionConfig):
    """The options of "activity-pruning".

    Attributes:
        connectivity: share of the weights that remain at the end.
        until: share of the epochs after which the channels no longer change.
        regrow: share of the remaining weights that are in restored channels.
        scope: whether channels are compared within each "layer" or across the whole "network".
    """

    method: str = "activity-pruning"
    connectivity: Annotated[float, Field(gt=0, lt=1)] = 0.3
    until: Annotated[float, Field(gt=0, le=1)] = 0.75
    regrow: Annotated[float, Field(ge=0, lt=1)] = 0.1
    scope: Literal["layer", "network"] = "layer"

    @property
    def needs_momentum(self) -> bool:
        return True


@register_compression("activity-pruning", ActivityPruningConfig)
class ActivityPruning(Compression):
    """Masks of channels. A removed channel has γ = β = 0 in its batch norm, so it never spikes.

    It keeps its weights until the masks are final, so its γ still has a gradient. If the momentum of this
    gradient is large, the channel is restored, with its old weights, γ = 1 and β = 0. When the masks are
    final, the weights of removed channels become 0.
    """

    config: ActivityPruningConfig
    fixed: Tensor
    _measuring: bool

    def __init__(self, config: ActivityPruningConfig) -> None:
        super().__init__(config)
        self._units: list[Unit] = []
        self._weights = self._parameters_in_all = 0
        self._measuring = True
        self.register_buffer("fixed", torch.tensor(False))

    def attach(self, network: nn.Module, seed: int) -> None:
        self._units = find_units(network)
        if not self._units:
            raise UsageError(
                'compression.method="activity-pruning" needs layers that are followed by batch norm and '
                "neurons, and this network has none; use another network, or "
                "compression.method=sparse-structure"
            )
        self._parameters_in_all = count_parameters(network)
        layers = weighted_layers(network).values()
        self._weights = sum(layer.weight.numel() for layer in layers)  # type: ignore[operator,union-attr,misc]
        least = self._weights - sum(
            (unit.channels - _least(unit)) * _weights_of_a_channel(unit) for unit in self._units
        )
        if least > self.config.connectivity * self._weights:
            raise UsageError(
                f"compression.connectivity={self.config.connectivity} cannot be reached; use at least "
                f"{least / self._weights:.3f}, the share of weights in layers without batch norm and neurons "
                f"and in the {LEAST:.0%} of channels that every layer keeps"
            )
        device = self._units[0].norm.weight.device
        self.fixed = self.fixed.to(device)
        for place, unit in enumerate(self._units):
            self.register_buffer(f"mask_{place}", torch.ones(unit.channels, dtype=torch.bool, device=device))
            # The last entry is the number of summands.
            self.register_buffer(
                f"activity_{place}", torch.zeros(unit.channels + 1, dtype=torch.float64, device=device)
            )
            self._listen(unit, place)

    def _listen(self, unit: Unit, place: int) -> None:
        neurons = unit.neurons
        if hasattr(neurons, "store_v_seq"):
            neurons.store_v_seq = True  # type: ignore[assignment]

        def add_activity(module: nn.Module, args: tuple[Tensor, ...], spikes: Tensor) -> None:
            if self._measuring and module.training:
                with torch.no_grad():
                    potentials = getattr(module, "v_seq", None)
                    active = spikes.detach().float()
                    if isinstance(potentials, Tensor):
                        active = active + potentials.detach().abs()
                    channel = 2 if getattr(module, "step_mode", "m") == "m" else 1
                    sums = active.sum(dim=[k for k in range(active.dim()) if k != channel])
                    count = sums.new_full((1,), active.numel() / len(sums))
                    self.get_buffer(f"activity_{place}").add_(torch.cat([sums, count]))

        neurons.register_forward_hook(add_activity)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        for unit, mask in self._masked():
            unit.norm.weight.mul_(mask)
            unit.norm.bias.mul_(mask)
            left = mask | ~self.fixed
            for name in ("weight", "bias"):
                parameter = getattr(unit.layer, name)
                if parameter is not None:
                    parameter.mul_(left.view(-1, *(1,) * (parameter.dim() - 1)))

    @torch.no_grad()
    def after_epoch(
        self, epoch: int, epochs: int, optimizer: Optimizer, reduce: Callable[[Tensor], Tensor]
    ) -> None:
        sums = [self.get_buffer(f"activity_{place}") for place in range(len(self._units))]
        if bool(self.fixed):  # a resumed run measures until here
            self._stop_measuring()
            torch._foreach_zero_(sums)
            return
        last = max(1, round(self.config.until * epochs))
        done = min(epoch + 1, last)
        means = [both[:-1] / both[-1] for both in map(reduce, sums)]
        if all(bool(mean.isfinite().all()) for mean in means):  # otherwise the epoch had no example
            # From 1 to the configured value, fast at first and then slower (Zhu and Gupta, 2017, Eq. 1).
            goal = self.config.connectivity
            connectivity = goal + (1 - goal) * (1 - done / last) ** 3
            wishes = [momentum(optimizer, unit.norm.weight).abs() for unit in self._units]
            grown = self.config.regrow if done < last else 0.0
            budget = self._budget(connectivity)
            masks = self._choose(means, budget * (1 - grown), None)
            if grown:
                masks = self._choose(wishes, budget, masks)
            for (unit, before), after in zip(self._masked(), masks, strict=True):
                back = after & ~before
                unit.norm.weight.masked_fill_(back, 1.0)
                before.copy_(after)
        torch._foreach_zero_(sums)
        if done == last:
            self.fixed.fill_(True)
            self._stop_measuring()
        self.after_step(optimizer)

    def _budget(self, connectivity: float) -> float:
        """Return the number of weights that prunable layers may have, so that this share of all remains."""
        prunable = sum(unit.channels * _weights_of_a_channel(unit) for unit in self._units)
        return connectivity * self._weights - (self._weights - prunable)

    def _choose(self, values: list[Tensor], budget: float, taken: list[Tensor] | None) -> list[Tensor]:
        """Return masks of the channels with the largest values, or the highest ranks in their layer.

        Args:
            values: a value for each channel of each layer.
            budget: largest total number of weights of the chosen channels.
            taken: masks of channels that are chosen already; None: the channels that every layer keeps.
        """
        if taken is None:
            taken = [_largest(value, _least(unit)) for unit, value in zip(self._units, values, strict=True)]
        if self.config.scope == "layer":
            values = [_share_below(value) for value in values]
        sizes = torch.cat(
            [
                torch.full_like(value, _weights_of_a_channel(unit), dtype=torch.float64)
                for unit, value in zip(self._units, values, strict=True)
            ]
        )
        first = torch.cat(taken)
        order = torch.cat(values).where(~first, torch.inf).argsort(descending=True, stable=True)
        fits = sizes[order].cumsum(dim=0) <= budget
        chosen = first | torch.zeros_like(first).scatter_(0, order, fits)
        return list(chosen.split([unit.channels for unit in self._units]))

    def _stop_measuring(self) -> None:
        self._measuring = False
        for unit in self._units:
            if hasattr(unit.neurons, "store_v_seq"):
                unit.neurons.store_v_seq = False  # type: ignore[assignment]

    def figures(self) -> dict[str, float]:
        """Return the share of the weights that remain, and the number of parameters of the network."""
        weights = parameters = 0
        for unit, mask in self._masked():
            out = int((~mask).sum())
            weights += out * _weights_of_a_channel(unit)
            parameters += out * (2 + (unit.layer.bias is not None))
        return {
            "connectivity": 1 - weights / self._weights,
            "parameters": self._parameters_in_all - weights - parameters,
        }

    def _masked(self) -> Iterator[tuple[Unit, Tensor]]:
        for place, unit in enumerate(self._units):
            yield unit, self.get_buffer(f"mask_{place}")


def _least(unit: Unit) -> int:
    return max(1, int(LEAST * unit.channels))


def _weights_of_a_channel(unit: Unit) -> int:
    weight: Tensor = unit.layer.weight  # type: ignore[assignment]
    return weight.numel() // unit.channels


def _share_below(values: Tensor) -> Tensor:
    """Return the ranks of the values in [0, 1). With ranks, every layer loses the same share of channels."""
    return values.argsort(stable=True).argsort().double() / len(values)


def _largest(values: Tensor, count: int) -> Tensor:
    """Return a mask of the `count` largest values."""
    order = values.argsort(descending=True, stable=True)[:count]
    return torch.zeros_like(values, dtype=torch.bool).index_fill_(0, order, True)
