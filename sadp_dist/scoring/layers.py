"""What scores need from each kind of layer.

In shapes, `*` stands for the leading dimensions of time, batch and tokens, in the network's layout
(`sadp_dist.scoring.layouts`). To support a new kind of layer, add it to `KINDS`. A subclass, such as
SpikingJelly's layers, counts as its base class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerKind:
    """How a kind of layer is scored.

    Attributes:
        features: number of dimensions of an output after `*`.
        input_norms: computes the norms of a layer's inputs, [*].
        exact_norms: computes ‖Σ_t δ[t] o[t]ᵀ‖ of every example, [B], from errors δ [B, T, K] and inputs o
            [B, T, ...]; None if the kind has no exact norm.
        exact_inputs: computes these inputs o, [*, ...].
    """

    features: int
    input_norms: Callable[[nn.Module, Tensor], Tensor]
    exact_norms: Callable[[Tensor, Tensor], Tensor] | None = None
    exact_inputs: Callable[[nn.Module, Tensor], Tensor] = lambda layer, o: o.detach()


def kind_of(module: nn.Module) -> LayerKind | None:
    """Return the kind of a layer, or None if such a layer has no score."""
    if getattr(module, "scale_grad_by_freq", False):  # an embedding whose gradients depend on the batch
        return None
    return next((KINDS[base] for base in type(module).__mro__ if base in KINDS), None)


def bias_share(layer: Any, output_shape: Sequence[int]) -> float:
    """Return what a bias adds to ‖o‖²: 1 for a linear layer, whose gradient with the bias is δ (o, 1)ᵀ.

    A convolution uses each input in up to k places (a transposed one: each error), so that its gradient is at
    most sqrt(k) ‖δ‖ ‖o‖. Its bias, a sum over P positions, adds P / k, within the same factor.
    """
    if not hasattr(layer, "kernel_size"):
        return 1.0
    sizes = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    uses = math.prod(math.ceil(kernel / (stride // math.gcd(stride, gap))) for kernel, stride, gap in sizes)
    return math.prod(output_shape[-len(layer.kernel_size) :]) / float(uses)


def row_norms(x: Tensor, features: int) -> Tensor:
    """Return ‖x‖ over the last dimensions, computed at least in float32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(-features, 0)), dtype=wide)
    return norms


def linear_gradient_norms(δ: Tensor, o: Tensor) -> Tensor:
    """Return ‖Σ_t δ[t] o[t]ᵀ‖ of every example (Eq. 8), [B, T, K] and [B, T, D] -> [B].

    Uses T² inner products, ‖Σ_t δ[t] o[t]ᵀ‖² = Σ_{t,s} (δ[t]·δ[s]) (o[t]·o[s]), or computes the gradient
    itself if T is so large, with many tokens, that a T x T matrix is larger than the K x D gradient.
    """
    (_, T, K), D = δ.shape, o.shape[-1]
    δ, o = δ.float(), o.float()
    if 2 * T * T > K * D:
        return row_norms(δ.mT @ o, features=2)
    squared = ((δ @ δ.mT) * (o @ o.mT)).sum(dim=(1, 2))
    return squared.clamp(min=0).sqrt()  # rounding may give a value just below zero


def embedding_gradient_norms(δ: Tensor, indices: Tensor) -> Tensor:
    """Return the norms of an embedding's gradients, [B, T, K] and [B, T] -> [B]; padding has the index -1.

    Rows of the same index add up: the squared norm is Σ_{t,s} (δ[t]·δ[s]) over the pairs of equal indices.
    """
    δ = δ.float()
    same = (indices[:, :, None] == indices[:, None]) & (indices[:, None] >= 0)
    return torch.where(same, δ @ δ.mT, 0.0).sum(dim=(1, 2)).clamp(min=0).sqrt()


def _dense(features: int) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda layer, o: row_norms(o, features)


def _embedded(layer: Any, indices: Tensor) -> Tensor:
    """Return the indices of an embedding, with -1 for padding, which has no gradient."""
    return indices if layer.padding_idx is None else torch.where(indices == layer.padding_idx, -1, indices)


KINDS: dict[type[nn.Module], LayerKind] = {
    nn.Linear: LayerKind(1, _dense(1), linear_gradient_norms),
    nn.Conv1d: LayerKind(2, _dense(2)),
    nn.Conv2d: LayerKind(3, _dense(3)),
    nn.Conv3d: LayerKind(4, _dense(4)),
    nn.ConvTranspose1d: LayerKind(2, _dense(2)),
    nn.ConvTranspose2d: LayerKind(3, _dense(3)),
    nn.ConvTranspose3d: LayerKind(4, _dense(4)),
    # An embedding is a linear layer with one-hot inputs.
    nn.Embedding: LayerKind(
        1, lambda layer, o: (_embedded(layer, o) >= 0).float(), embedding_gradient_norms, _embedded
    ),
}
