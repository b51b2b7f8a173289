"""Scores of examples that mixup or CutMix has mixed in pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from sadp_dist.errors import UsageError


def unmixed_scores(scores: Tensor, partner: Tensor, share: Tensor | float) -> Tensor:
    """Return a score for each example of a batch from the scores of its mixed examples.

    Mixed example i is made of example i by the share λ and of example `partner[i]` by 1 - λ. Each of the two
    gets its score by its share: the result is Σ share · score / Σ share over the mixed examples that an
    example is part of. This is a choice of this project; the paper has no mixed examples.

    Args:
        scores: floating point (B,), of the mixed examples. NaN, an example without a score, does not count.
        partner: integers (B,), the position in the batch of each example's partner; for example
            `torch.randperm(B)`.
        share: λ in [0, 1], for all or (B,) for each; for CutMix the share of the area.

    Returns:
        (B,) with the dtype and device of `scores`; NaN where no mixed example with a score has a part of it.

    Raises:
        UsageError: a shape or dtype is wrong. Values are not checked, as this would wait for the device.
    """
    if scores.ndim != 1 or partner.shape != scores.shape:
        raise UsageError(
            f"scores have shape {tuple(scores.shape)} and partner {tuple(partner.shape)}: both need (B,)"
        )
    if partner.is_floating_point() or partner.dtype == torch.bool:
        raise UsageError(f"partner has dtype {partner.dtype}: positions in the batch are needed, as int64")
    shares = torch.as_tensor(share, dtype=scores.dtype, device=scores.device)
    if shares.ndim > 0 and shares.shape != scores.shape:
        raise UsageError(
            f"share has shape {tuple(shares.shape)}: one number, or {tuple(scores.shape)}, is needed"
        )
    partner = partner.to(scores.device, torch.int64)
    known = ~scores.isnan()
    own = shares * known
    others = (1 - shares) * known
    present = scores.nan_to_num(0.0)
    total = (own * present).index_add(0, partner, others * present)
    return total / own.index_add(0, partner, others)
