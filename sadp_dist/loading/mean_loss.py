"""The training loss of a batch: the mean of weight times loss."""

from __future__ import annotations

from torch import Tensor

from sadp_dist.errors import UsageError


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return Σ w l / B, the training loss of a batch of B examples.

    It replaces the mean that a criterion takes by itself. A scalar loss times weights runs without an error,
    but weights nothing; so this insists on one loss and one weight per example.

    Args:
        losses: floating point (B,), from a criterion with `reduction="none"`.
        weights: (B,), from `sampler.weights(index)` or the loader, on any device.

    Returns:
        A scalar with the dtype and device of `losses`.

    Raises:
        UsageError: one of them does not have the shape (B,).
    """
    if losses.ndim != 1:
        raise UsageError(
            f"losses have shape {tuple(losses.shape)}: one loss per example, shape (B,), is needed; use a "
            'criterion with reduction="none", and take the mean over all other dimensions'
        )
    if weights.shape != losses.shape:
        raise UsageError(
            f"weights have shape {tuple(weights.shape)} and losses {tuple(losses.shape)}: both need the same "
            "shape (B,); pass sampler.weights(index) of this batch"
        )
    return (weights.to(losses.device, losses.dtype) * losses).mean()
