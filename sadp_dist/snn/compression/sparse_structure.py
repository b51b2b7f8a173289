"""Two-stage sparse structure learning: training starts with few connections and rewires them.

After Shen et al. (ICLR 2025, "Improving the sparse structure learning of spiking neural networks from the
view of compression efficiency"), Algorithm 1. Stage I trains and computes from the PQ index how many
connections are redundant. Stage II removes connections of small magnitude and grows others by momentum.

Algorithm 1 removes and grows the same number of connections, which keeps the density. In the paper's results,
however, the density falls from 0.5 to 0.30 in the fourth iteration and to 0.11 at the end. That is the effect
of removing stage I's share: weights close to a normal distribution have I = 0.153, hence c = 0.154, and
0.5 (1 - 0.154)^3 = 0.30, 0.5 (1 - 0.154)^9 = 0.11. So with `shrink`, the share of stage I is removed without
a replacement, and stage II moves as many connections again. Without `shrink`, this is Algorithm 1 as printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression.base import Compression
from sadp_dist.snn.compression.config import CompressionConfig, register_compression
from sadp_dist.snn.compression.erdos_renyi import connection_probabilities, draw_connections
from sadp_dist.snn.compression.momentum import momentum
from sadp_dist.snn.compression.pq_index import pq_index, retained_lower_bound, rewiring_ratio
from sadp_dist.snn.layers import count_parameters, weighted_layers


class SparseStructureConfig(CompressionConfig):
    """The options of "sparse-structure".

    Attributes:
        density: share of the weights that are connected at the start.
        connectivity: smallest share of connected weights.
        shrink: whether each rewiring reduces the number of connections; false keeps `density`.
        until: share of the epochs after which the connections no longer change.
        every: epochs between two rewirings.
        scope: whether Eqs. 2-4 apply to each "layer" or to each "neuron".
        gamma: γ of Eq. 4, a factor of the number of removed connections.
        beta: β of Eq. 4, the largest share of the connections that one rewiring removes.
        alpha: α_r of Eq. 3; a larger value removes more.
        p: p of the PQ index, below q.
        q: q of the PQ index.
    """

    method: str = "sparse-structure"
    density: Annotated[float, Field(gt=0, le=1)] = 0.5
    connectivity: Annotated[float, Field(gt=0, lt=1)] = 0.3
    shrink: bool = True
    until: Annotated[float, Field(gt=0, le=1)] = 0.75
    every: Annotated[int, Field(ge=1)] = 10
    scope: Literal["layer", "neuron"] = "layer"
    gamma: Annotated[float, Field(gt=0)] = 1.0
    beta: Annotated[float, Field(gt=0, le=1)] = 0.9
    alpha: Annotated[float, Field(ge=0)] = 0.001
    p: Annotated[float, Field(gt=0)] = 0.5
    q: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> SparseStructureConfig:
        if self.p >= self.q:
            raise UsageError(f"p={self.p} must be below q={self.q}, as the PQ index requires")
        if self.shrink and self.density < self.connectivity:
            raise UsageError(
                f"density={self.density} must be at least connectivity={self.connectivity}, "
                "the smallest share of connections; raise density or lower connectivity"
            )
        return self

    @property
    def needs_momentum(self) -> bool:
        return True

    def check_epochs(self, epochs: int) -> None:
        last = min(int(self.until * epochs), epochs - 1)
        if self.every > last:
            raise UsageError(
                f"compression.every={self.every} never rewires: with training.epochs={epochs} and "
                f"compression.until={self.until}, the last possible rewiring is after epoch {last}; "
                "lower compression.every or raise training.epochs"
            )


@register_compression("sparse-structure", SparseStructureConfig)
class SparseStructure(Compression):
    """Masks of all linear and convolutional weights. Weights without a connection are 0 after every step.

    A weight without a connection still has a gradient, and the optimizer's momentum tells where to grow.
    Every rank has the same weights and momentum, and therefore the same masks.
    """

    config: SparseStructureConfig

    def __init__(self, config: SparseStructureConfig) -> None:
        super().__init__(config)
        self._layers: list[nn.Module] = []  # a plain list keeps them out of this state_dict
        self._others = 0  # parameters without a mask

    def attach(self, network: nn.Module, seed: int) -> None:
        self._layers = list(weighted_layers(network).values())
        if not self._layers:
            raise UsageError(
                'compression.method="sparse-structure" needs trainable Linear or Conv layers, and this '
                "network has none; use another network, or compression.method=none"
            )
        shapes = [weight.shape for weight in self._weights()]
        chances = connection_probabilities(shapes, self.config.density)
        for place, (weight, chance) in enumerate(zip(self._weights(), chances, strict=True)):
            mask = draw_connections(weight.shape, chance, seed, place).to(weight.device)
            self.register_buffer(f"mask_{place}", mask)
        self._others = count_parameters(network) - sum(mask.numel() for mask in self._masks())
        self._apply_masks()

    def after_step(self, optimizer: Optimizer) -> None:
        self._apply_masks()

    @torch.no_grad()
    def after_epoch(
        self, epoch: int, epochs: int, optimizer: Optimizer, reduce: Callable[[Tensor], Tensor]
    ) -> None:
        done, config = epoch + 1, self.config
        # Grown weights start at 0 and need another epoch, so nothing is rewired after the last one.
        if done % config.every or done > int(config.until * epochs) or done == epochs:
            return
        counts = [self._too_many(weight, mask) for weight, mask in self._connections()]
        falls = self._falls(counts)
        for (weight, mask), count, fall in zip(self._connections(), counts, falls, strict=True):
            rows = mask.reshape(len(count), -1)
            rewired = rewire(
                weight.reshape(len(count), -1),
                rows,
                momentum(optimizer, weight).reshape(len(count), -1),
                remove=count + fall,
                grow=count,
            )
            mask.copy_(rewired.reshape(mask.shape))
        self._apply_masks()

    def _too_many(self, weight: Tensor, mask: Tensor) -> Tensor:
        """Return how many connections are redundant (stage I), per layer or per neuron; int64."""
        config = self.config
        rows = 1 if config.scope == "layer" else len(weight)
        w, d = weight.reshape(rows, -1), mask.reshape(rows, -1).sum(dim=1)
        index = pq_index(w, d, config.p, config.q)
        r = retained_lower_bound(d, index, config.alpha, config.p, config.q)
        total = w.shape[1]
        return (rewiring_ratio(d, r, total, config.gamma, config.beta) * total).round().long()

    def _falls(self, counts: list[Tensor]) -> list[Tensor]:
        """Return how many of them are not replaced: all, as long as `connectivity` is not undercut."""
        if not self.config.shrink:
            return [torch.zeros_like(count) for count in counts]
        connections = sum(int(mask.sum()) for mask in self._masks())
        least = self.config.connectivity * sum(mask.numel() for mask in self._masks())
        wanted = sum(int(count.sum()) for count in counts)
        share = min(1.0, max(0.0, connections - least) / max(wanted, 1))
        return [(count * share).floor().long() for count in counts]

    def figures(self) -> dict[str, float]:
        """Return the share of connected weights, and the number of parameters of the network."""
        connections = sum(int(mask.sum()) for mask in self._masks())
        weights = sum(mask.numel() for mask in self._masks())
        return {"connectivity": connections / weights, "parameters": connections + self._others}

    def _weights(self) -> Iterator[Tensor]:
        for layer in self._layers:
            yield layer.weight  # type: ignore[misc]

    def _masks(self) -> Iterator[Tensor]:
        for place in range(len(self._layers)):
            yield self.get_buffer(f"mask_{place}")

    def _connections(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self._weights(), self._masks(), strict=True)

    @torch.no_grad()
    def _apply_masks(self) -> None:
        for weight, mask in self._connections():
            weight.mul_(mask)


def rewire(w: Tensor, mask: Tensor, momentum: Tensor, remove: Tensor, grow: Tensor) -> Tensor:
    """Return the mask after stage II, computed for each row.

    The connections with the smallest |w| are removed, but at least one remains. Then connections with the
    largest |momentum| grow where there were none. Removed connections grow again only if there are not enough
    others.

    Args:
        w: [R, N], the weights; 0 without a connection.
        mask: [R, N] bool, the connections.
        momentum: [R, N].
        remove: [R] int64, number of connections to remove.
        grow: [R] int64, number of connections to grow.

    Returns:
        [R, N] bool.
    """
    remove = remove.minimum((mask.sum(dim=1) - 1).clamp(min=0))
    gone = _first(w.abs().where(mask, torch.inf), remove)
    kept = mask & ~gone
    wish = -momentum.abs()
    wish = wish.where(~gone, 1.0 + wish - wish.amin())  # above 0: chosen after all others
    return kept | _first(wish.where(~kept, torch.inf), grow.minimum((~kept).sum(dim=1)))


def _first(values: Tensor, count: Tensor) -> Tensor:
    """[R, N] bool: in each row the `count` [R] smallest; of equal ones, the first."""
    order = values.argsort(dim=1, stable=True)
    chosen = torch.arange(values.shape[1], device=values.device) < count[:, None]
    return torch.zeros_like(chosen).scatter_(1, order, chosen)
