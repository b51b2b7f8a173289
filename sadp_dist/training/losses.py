"""Per-example losses of the logits of a spiking network."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sadp_dist.training.config import OptimizationConfig


class PerExampleLoss(Protocol):
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return (B,) float32 losses for (T, B, classes) logits and (B,) int64 labels."""


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy of the mean of the logits over time."""
    return F.cross_entropy(logits.float().mean(0), labels, label_smoothing=label_smoothing, reduction="none")


def tet(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, lamb: float = 0.05, phi: float = 1.0
) -> Tensor:
    """Return the loss of temporal efficient training, with logits regularised towards φ.

    (1 - λ) (1/T) Σ_t CE(logits[t], y) + λ (1/T) Σ_t MSE(logits[t], φ) (Deng et al., ICLR 2022; S13 of Meng et
    al., ICCV 2023).
    """
    mse = (logits.float() - phi).square().mean((0, 2))
    return (1 - lamb) * _cross_entropy_of_each(logits, labels, label_smoothing) + lamb * mse


def tet_label(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, lamb: float = 0.05) -> Tensor:
    """Return the TET loss with logits regularised towards the label (S14 of Meng et al., ICCV 2023).

    (1 - λ) (1/T) Σ_t CE(logits[t], y) + λ (1/T) Σ_t MSE(logits[t], one-hot of y)
    """
    target = F.one_hot(labels, logits.shape[2])
    mse = (logits.float() - target).square().mean((0, 2))
    return (1 - lamb) * _cross_entropy_of_each(logits, labels, label_smoothing) + lamb * mse


def _cross_entropy_of_each(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    time_steps, batch, classes = logits.shape
    each = F.cross_entropy(
        logits.float().reshape(-1, classes),
        labels.repeat(time_steps),
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return each.view(time_steps, batch).mean(0)


def build_loss(config: OptimizationConfig) -> PerExampleLoss:
    if config.loss == "cross-entropy":
        return partial(cross_entropy, label_smoothing=config.label_smoothing)
    loss = {"tet": tet, "tet-label": tet_label}[config.loss]
    return partial(loss, label_smoothing=config.label_smoothing, lamb=config.tet_lambda)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return whether the mean of the logits over time predicts the label, (B,) bool.

    Args:
        logits: (T, B, classes).
        labels: (B,) int64.
    """
    return torch.eq(logits.float().mean(0).argmax(1), labels)
