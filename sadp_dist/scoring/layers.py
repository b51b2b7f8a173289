"""The norms that scores need from each type of layer: one registered function per type.

In shapes, `*` stands for the leading dimensions of time, batch and tokens, in the network's layout
(`sadp_dist.scoring.layouts`). To support a new type of layer, add a function here. A subclass, such as
SpikingJelly's layers, uses the function of its base class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

F = TypeVar("F")


class LayerFunctions(Generic[F]):
    """Functions by type of layer. A module uses that of its type or of its nearest base class."""

    def __init__(self) -> None:
        self._functions: dict[type[nn.Module], F] = {}

    def register(self, layer: type[nn.Module]) -> Callable[[F], F]:
        def decorator(function: F) -> F:
            self._functions[layer] = function
            return function

        return decorator

    def __contains__(self, module: nn.Module) -> bool:
        return any(base in self._functions for base in type(module).__mro__)

    def __getitem__(self, module: nn.Module) -> F:
        return next(self._functions[base] for base in type(module).__mro__ if base in self._functions)


ROW_NORMS = LayerFunctions[Callable[[Tensor], Tensor]]()
GRADIENT_NORMS = LayerFunctions[Callable[[Tensor, Tensor], Tensor]]()


def _norms(x: Tensor, features: int) -> Tensor:
    """Return ‖x‖ over the last dimensions, computed at least in float32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(-features, 0)), dtype=wide)
    return norms


@ROW_NORMS.register(nn.Linear)
def linear_norms(x: Tensor) -> Tensor:
    """Return the norms of rows, [*, D] -> [*]."""
    return _norms(x, features=1)


@ROW_NORMS.register(nn.Conv1d)
def conv1d_norms(x: Tensor) -> Tensor:
    """Return the norms of rows, [*, C, L] -> [*]."""
    return _norms(x, features=2)


@ROW_NORMS.register(nn.Conv2d)
def conv2d_norms(x: Tensor) -> Tensor:
    """Return the norms of rows, [*, C, H, W] -> [*]."""
    return _norms(x, features=3)


@GRADIENT_NORMS.register(nn.Linear)
def linear_gradient_norms(δ: Tensor, o: Tensor) -> Tensor:
    """Return ‖Σ_t δ[t] o[t]ᵀ‖ of every example (Eq. 8), [B, T, K] and [B, T, D] -> [B].

    Uses T² inner products, ‖Σ_t δ[t] o[t]ᵀ‖² = Σ_{t,s} (δ[t]·δ[s]) (o[t]·o[s]), or computes the gradient
    itself if T is so large, with many tokens, that a T x T matrix is larger than the K x D gradient.
    """
    (_, T, K), D = δ.shape, o.shape[-1]
    with torch.autocast(δ.device.type, enabled=False):
        δ, o = δ.float(), o.float()
        if 2 * T * T > K * D:
            return _norms(δ.mT @ o, features=2)
        squared = ((δ @ δ.mT) * (o @ o.mT)).sum(dim=(1, 2))
        return squared.clamp(min=0).sqrt()  # rounding may give a value just below zero
