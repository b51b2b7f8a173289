"""How compressible weights are: the PQ index and what follows from it (Shen et al., ICLR 2025, Eqs. 2-4).

The paper prints Eq. 2 with the difference of two norms, and in its text with their ratio. The ratio is the
definition (Diao et al., ICLR 2023, arXiv 2302.05601); only with it the index does not change with the
weights' scale, as both papers say.

Functions are of tensors and along the last dimension, in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pq_index(w: Tensor, d: Tensor, p: float, q: float) -> Tensor:
    """I(w) = 1 - d^(1/q - 1/p) ‖w‖_p / ‖w‖_q, in [0, 1] (Eq. 2): 0 where all |w| are equal.

    Args:
        w: [..., N], 0 where there is no connection.
        d: [...], the number of connections.
        p: 0 < p < q.
        q: as above.

    Returns:
        [...] float64; 0 where all weights are 0.
    """
    w, d = w.double(), d.double()
    norm = torch.linalg.vector_norm
    ratio = norm(w, p, dim=-1) / norm(w, q, dim=-1)
    index: Tensor = 1 - d ** (1 / q - 1 / p) * ratio
    return index.nan_to_num(0.0).clamp(0, 1)


def retained_lower_bound(d: Tensor, index: Tensor, alpha: float, p: float, q: float) -> Tensor:
    """r = d (1 + α_r)^(-q / (q - p)) (1 - I)^(p q / (q - p)), the least number of weights to keep (Eq. 3).

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
    """c = ⌊d min(γ (1 - r / d), β)⌋ / N_W, the share of all weights to rewire (Eq. 4); 0 where d is 0.

    Args:
        d: [...], the number of connections.
        r: [...], of those to keep at least.
        total: N_W, of weights that there could be.
        gamma: γ.
        beta: β.
    """
    d = d.double()
    return (d * (gamma * (1 - r / d)).clamp(max=beta)).nan_to_num(0.0).floor() / total
