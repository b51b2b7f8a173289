"""The PQ index, which measures how compressible weights are (Shen et al., ICLR 2025, Eqs. 2-4).

Eq. 2 is printed with the difference of two norms, while the paper's text has their ratio. The ratio is
correct (Diao et al., ICLR 2023, arXiv 2302.05601): only then the index does not depend on the scale of the
weights, as both papers state.

All functions compute in float64, along the last dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pq_index(w: Tensor, d: Tensor, p: float, q: float) -> Tensor:
    """Return I(w) = 1 - d^(1/q - 1/p) ‖w‖_p / ‖w‖_q in [0, 1] (Eq. 2). It is 0 if all |w| are equal.

    Args:
        w: [..., N], the weights; 0 without a connection.
        d: [...], the number of connections.
        p: 0 < p < q.
        q: see p.

    Returns:
        [...] float64; 0 if all weights are 0.
    """
    w, d = w.double(), d.double()
    norm = torch.linalg.vector_norm
    ratio = norm(w, p, dim=-1) / norm(w, q, dim=-1)
    index: Tensor = 1 - d ** (1 / q - 1 / p) * ratio
    return index.nan_to_num(0.0).clamp(0, 1)


def retained_lower_bound(d: Tensor, index: Tensor, alpha: float, p: float, q: float) -> Tensor:
    """Return r = d (1 + α_r)^(-q / (q - p)) (1 - I)^(p q / (q - p)) (Eq. 3).

    It is a lower bound of the number of weights to keep.

    Args:
        d: [...], the number of connections.
        index: [...], their PQ index I.
        alpha: α_r.
        p: of the index.
        q: of the index.
    """
    r: Tensor = d.double() * (1 + alpha) ** (-q / (q - p)) * (1 - index) ** (p * q / (q - p))
    return r


def rewiring_ratio(d: Tensor, r: Tensor, total: int, gamma: float, beta: float) -> Tensor:
    """Return c = ⌊d min(γ (1 - r / d), β)⌋ / N_W, the share of all weights to rewire (Eq. 4); 0 if d is 0.

    Args:
        d: [...], the number of connections.
        r: [...], the lower bound of connections to keep.
        total: N_W, the number of weights of a dense layer.
        gamma: γ.
        beta: β.
    """
    d = d.double()
    return (d * (gamma * (1 - r / d)).clamp(max=beta)).nan_to_num(0.0).floor() / total
