"""Initial connections of a sparse network: an Erdős-Rényi random graph (Shen et al., ICLR 2025, Eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sadp_dist.selection.random import uniform

CONNECT = 32
"""Number of the random stream for connections. Selection and loading use lower numbers."""


def connection_probabilities(shapes: Sequence[Sequence[int]], density: float) -> list[float]:
    """Return p = min(1, ε (n_k + n_(k-1)) / (n_k n_(k-1))) of each layer.

    ε is the same for all layers and chosen so that the network has `density`. Smaller layers are denser. For
    a convolution, n_k and n_(k-1) are its channels, and p applies to each of its weights.

    Args:
        shapes: shapes of the layers' weights, [n_k, n_(k-1), ...].
        density: Σ p N / Σ N over the layers, where N is the number of weights of a layer; in (0, 1].
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
    """Return a bool mask, True with `probability`; a function of (seed, layer, position in the mask)."""
    numbers = uniform(seed, layer, np.arange(torch.Size(shape).numel()), CONNECT)
    return torch.from_numpy(numbers < probability).reshape(tuple(shape))
