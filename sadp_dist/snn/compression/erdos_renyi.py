"""A network's connections at the start: an Erdős-Rényi random graph (Shen et al., ICLR 2025, Eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sadp_dist.selection.random import uniform

CONNECT = 32
"""The stream of random numbers that connections are drawn from; those of selection and loading are lower."""


def connection_probabilities(shapes: Sequence[Sequence[int]], density: float) -> list[float]:
    """p = min(1, ε (n_k + n_(k-1)) / (n_k n_(k-1))) of each layer, with the one ε that gives `density`.

    The smaller a layer, the denser it is. Of a convolution n_k and n_(k-1) are its channels, and p is that of
    each of its weights.

    Args:
        shapes: of the layers' weights, [n_k, n_(k-1), ...].
        density: Σ p N / Σ N over the layers, N being a layer's number of weights, in (0, 1].
    """
    sizes = [torch.Size(shape).numel() for shape in shapes]
    slopes = [(n_k + n_below) / (n_k * n_below) for n_k, n_below, *_ in shapes]
    capped: set[int] = set()
    while len(capped) < len(shapes):
        free = [k for k in range(len(shapes)) if k not in capped]
        wanted = density * sum(sizes) - sum(sizes[k] for k in capped)
        ε = wanted / sum(slopes[k] * sizes[k] for k in free)
        over = {k for k in free if ε * slopes[k] > 1}
        if not over:
            return [1.0 if k in capped else ε * slopes[k] for k in range(len(shapes))]
        capped |= over
    return [1.0] * len(shapes)


def draw_connections(shape: Sequence[int], probability: float, seed: int, layer: int) -> Tensor:
    """A layer's mask, bool in `shape`: each connection with `probability`, by (seed, layer, place)."""
    numbers = uniform(seed, layer, np.arange(torch.Size(shape).numel()), CONNECT)
    return torch.from_numpy(numbers < probability).reshape(tuple(shape))
