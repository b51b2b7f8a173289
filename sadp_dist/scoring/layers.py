"""What each type of layer contributes to a score: one small function per type, registered by a decorator.

In shapes, `*` are the leading dimensions of time, batch and tokens, in whatever layout the network uses
(`sadp_dist.scoring.layouts` sorts them out). A new type of layer is a new function here and nothing else; a
subclass, such as SpikingJelly's, takes the function of its base class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

RowNorms = Callable[[Tensor], Tensor]
GradientNorms = Callable[[Tensor, Tensor], Tensor]
Function = TypeVar("Function", RowNorms, GradientNorms)

ROW_NORMS: dict[type[nn.Module], RowNorms] = {}
GRADIENT_NORMS: dict[type[nn.Module], GradientNorms] = {}


def _register(registry: dict[type[nn.Module], Function], layer: type[nn.Module]) -> Callable[[Function], Function]:
    def decorator(function: Function) -> Function:
        registry[layer] = function
        return function

    return decorator


def find(registry: dict[type[nn.Module], Function], layer: nn.Module) -> Function | None:
    """The function registered for the layer's type or the nearest of its base classes; None if there is none."""
    return next((registry[base] for base in type(layer).__mro__ if base in registry), None)


@_register(ROW_NORMS, nn.Linear)
def linear_norms(x: Tensor) -> Tensor:
    """‖x‖ of every row, [*, D] -> [*]."""
    return torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)


@_register(ROW_NORMS, nn.Conv1d)
def conv1d_norms(x: Tensor) -> Tensor:
    """‖x‖ of every feature map, [*, C, L] -> [*]."""
    return torch.linalg.vector_norm(x, dim=(-2, -1), dtype=torch.float32)


@_register(ROW_NORMS, nn.Conv2d)
def conv2d_norms(x: Tensor) -> Tensor:
    """‖x‖ of every feature map, [*, C, H, W] -> [*]."""
    return torch.linalg.vector_norm(x, dim=(-3, -2, -1), dtype=torch.float32)


@_register(GRADIENT_NORMS, nn.Linear)
def linear_gradient_norms(δ: Tensor, o: Tensor) -> Tensor:
    """‖Σ_t δ[t] o[t]ᵀ‖ of every example (Eq. 8), [B, T, K] and [B, T, D] -> [B].

    By T² inner products, ‖Σ_t δ[t] o[t]ᵀ‖² = Σ_{t,s} (δ[t]·δ[s]) (o[t]·o[s]), or by the sum itself where T is so
    large (many tokens) that the T x T matrices would be larger than the K x D gradient.
    """
    δ, o = δ.float(), o.float()
    if 2 * δ.shape[1] ** 2 <= δ.shape[2] * o.shape[2]:
        squared = ((δ @ δ.mT) * (o @ o.mT)).sum(dim=(1, 2))
        return squared.clamp(min=0).sqrt()  # rounding may leave a zero just below it
    return torch.linalg.vector_norm(δ.mT @ o, dim=(1, 2))
